"""Conversion: what is written is read as starting weights and as a model, and nothing half or wrong is written."""

import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from timm.models.convnext import ConvNeXt
from torch import Tensor

import backbones
import densebench
from backbones.convnext import DenseConvNeXt
from densebench.checkpoint import read_checkpoint, state_dict_of
from densebench.conversion import convert, is_whole_model, to_model_names
from densebench.engine.hooks import load_starting_weights
from densebench.errors import DensebenchError
from densebench.starting_weights import StartingWeights, file_sha256
from tests.running import Result, run_tool

SMALL = {"depths": (1, 1, 2, 1), "dims": (8, 16, 24, 32)}


def imagenet_file(folder: Path) -> Path:
    """A classifier's file as the authors of ConvNeXt write them."""
    state = {name: value for name, value in DenseConvNeXt(**SMALL).state_dict().items() if not name.startswith("norm")}
    state |= {"norm.weight": torch.ones(32), "norm.bias": torch.zeros(32)}
    state |= {"head.weight": torch.zeros(10, 32), "head.bias": torch.zeros(10)}
    return saved(folder / "convnext.pth", {"model": state})


def saved(file: Path, content: object) -> Path:
    torch.save(content, file)
    return file


def written(file: Path) -> dict[str, Tensor]:
    return state_dict_of(read_checkpoint(file))


def convert_tool(*arguments: object) -> Result:
    return run_tool("convert_checkpoint", *arguments)


def test_the_header_says_where_it_comes_from(tmp_path: Path) -> None:
    source, target = imagenet_file(tmp_path), tmp_path / "new" / "convnext.safetensors"
    conversion = convert(source, target)
    with safe_open(target, "pt") as file:
        header = file.metadata()
    assert header == {
        "source": "convnext.pth",
        "source_sha256": file_sha256(source),
        "layout": "ConvNeXt (authors)",
        "densebench_version": densebench.__version__,
    }
    assert conversion.left_out == ("head.weight", "head.bias")
    assert not set(conversion.left_out) & written(target).keys()
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_what_is_written_is_read_as_starting_weights(tmp_path: Path) -> None:
    theirs = ConvNeXt(**SMALL, num_classes=5)
    source = saved(tmp_path / "timm.pth", theirs.state_dict())
    target = tmp_path / "ours.safetensors"
    assert convert(source, target).layout == "ConvNeXt (timm)"
    backbone = DenseConvNeXt(**SMALL)
    report = load_starting_weights(backbone, StartingWeights(name="file:ours", file=target), allow_partial=False)
    assert report.layout == "ConvNeXt (authors)" and not report.unknown
    assert all(name.startswith("norm") for name in report.missing)
    assert torch.equal(backbone.stages[2][1].pwconv1.weight, theirs.stages[2].blocks[1].mlp.fc1.weight)
    # The same without the detour.
    direct = load_starting_weights(backbone, StartingWeights(name="file:timm", file=source), allow_partial=False)
    assert direct.layout == "ConvNeXt (timm)" and set(direct.matched) == set(report.matched)


def test_numbers_stay_as_they_are_and_shared_memory_is_no_hindrance(tmp_path: Path) -> None:
    whole = torch.arange(12, dtype=torch.float16).reshape(3, 4)
    source = saved(tmp_path / "other.pth", {"a": whole, "b": whole[1:], "c": whole.T, "d": torch.tensor(3)})
    conversion = convert(source, tmp_path / "other.safetensors")
    assert conversion.layout is None and "names kept" in conversion.summary()
    state = written(conversion.destination)
    assert state["c"].dtype == torch.float16 and torch.equal(state["c"], whole.T) and state["d"] == 3


def test_a_whole_segmentor_keeps_its_names(tmp_path: Path) -> None:
    backbone = DenseConvNeXt(**SMALL).state_dict()
    state = {
        f"module.backbone.{name.replace('dwconv', 'depthwise_conv').replace('pwconv', 'pointwise_conv')}": value
        for name, value in backbone.items()
    } | {"module.decode_head.conv_seg.bias": torch.zeros(3)}
    assert is_whole_model(state) and not is_whole_model(backbone)
    conversion = convert(saved(tmp_path / "s.pth", {"state_dict": state, "meta": {}}), tmp_path / "s.safetensors")
    assert conversion.layout == "ConvNeXt (mmpretrain)"
    expected = {f"backbone.{name}" for name in backbone} | {"decode_head.conv_seg.bias"}
    assert written(conversion.destination).keys() == expected


def test_a_whole_model_with_a_timm_backbone_keeps_timms_names() -> None:
    state = {
        f"backbone.model.{name}": value for name, value in ConvNeXt(**SMALL, num_classes=0).state_dict().items()
    } | {"decode_head.conv_seg.bias": torch.zeros(3)}
    assert to_model_names(state) == (state, None)


def test_a_check_against_a_backbone(tmp_path: Path) -> None:
    whole = saved(tmp_path / "atto.pth", {"model": backbones.build("convnextv2_atto").state_dict()})
    conversion = convert(whole, tmp_path / "atto.safetensors", "convnextv2_atto")
    assert conversion.report is not None and conversion.report.matched_percent == 100
    for name, text in (
        ("convnextv2_femto", r"(?s)fills \d+\.\d % of convnextv2_femto; at least 90 %.*Name its own backbone"),
        ("convnextv2_attto", "Unknown backbone.*convnextv2_atto"),
        ("timm/no_such_model", "has no model 'no_such_model'"),
    ):
        with pytest.raises(DensebenchError, match=text):
            convert(whole, tmp_path / "wrong.safetensors", name)
    assert not (tmp_path / "wrong.safetensors").exists()


def test_a_timm_backbones_file_keeps_timms_names(tmp_path: Path) -> None:
    theirs = backbones.build("timm/convnext_atto").state_dict()  # under `model.`
    conversion = convert(saved(tmp_path / "t.pth", theirs), tmp_path / "t.safetensors", "timm/convnext_atto")
    assert conversion.report is not None and conversion.report.matched_percent == 100
    assert written(conversion.destination).keys() == {name.removeprefix("model.") for name in theirs}
    backbone = backbones.build("timm/convnext_atto")
    weights = StartingWeights(name="file:t", file=conversion.destination)
    assert load_starting_weights(backbone, weights, allow_partial=False).matched_percent == 100


def test_nothing_is_replaced_and_no_other_format_written(tmp_path: Path) -> None:
    source = imagenet_file(tmp_path)
    there = tmp_path / "there.safetensors"
    there.write_text("mine")
    with pytest.raises(DensebenchError, match="is there already and is not overwritten"):
        convert(source, there)
    assert there.read_text() == "mine"
    with pytest.raises(DensebenchError, match=r"end in \.safetensors"):
        convert(source, tmp_path / "convnext.pth")
    with pytest.raises(DensebenchError, match="cannot be written"):
        convert(source, source / "below_a_file.safetensors")
    with pytest.raises(DensebenchError, match="No checkpoint at"):
        convert(tmp_path / "nowhere.pth", tmp_path / "new.safetensors")
    assert {path.name for path in tmp_path.iterdir()} == {"convnext.pth", "there.safetensors"}


def test_the_tool(tmp_path: Path) -> None:
    source, target = imagenet_file(tmp_path), tmp_path / "convnext.safetensors"
    result = convert_tool(source, target)
    assert result.returncode == 0 and result.stderr == ""
    assert "ConvNeXt (authors)" in result.stdout and "head.weight" in result.stdout
    assert written(target).keys() & {"norm.weight", "head.weight"} == {"norm.weight"}


def test_usage_errors_exit_2() -> None:
    assert convert_tool("one_path.pth").returncode == 2


def test_help_is_quick() -> None:
    begin = time.perf_counter()
    assert convert_tool("--help").returncode == 0
    assert time.perf_counter() - begin < 1

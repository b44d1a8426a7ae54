"""Reading checkpoints: nothing is executed, wrappers and layouts are undone, misfits are told."""

import os
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from backbones.convnext import DenseConvNeXt
from densebench.checkpoint import (
    backbone_state,
    load_state,
    official_convnext_name,
    read_checkpoint,
    require_match,
    state_dict_of,
)
from densebench.errors import DensebenchError


class Payload:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def small_convnext() -> DenseConvNeXt:
    return DenseConvNeXt(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32), layer_scale_init_value=1.0)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    file, trace = tmp_path / "evil.pth", tmp_path / "executed"
    torch.save({"state_dict": {"weight": torch.zeros(1)}, "extra": Payload(trace)}, file)
    with pytest.raises(DensebenchError, match=r"pickled objects other than tensors.*mkdir"):
        read_checkpoint(file)
    assert not trace.exists()


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_truncated_files_are_told(tmp_path: Path, keep: float) -> None:
    whole = tmp_path / "whole.pth"
    torch.save({"state_dict": {"weight": torch.zeros(1000)}}, whole)
    content = whole.read_bytes()
    cut = tmp_path / "cut.pth"
    cut.write_bytes(content[: int(keep if keep >= 1 or keep == 0 else keep * len(content))])
    with pytest.raises(DensebenchError, match=r"cut\.pth .*cannot be read as a checkpoint"):
        read_checkpoint(cut)


def test_truncated_safetensors_and_text_are_told(tmp_path: Path) -> None:
    file = tmp_path / "cut.safetensors"
    save_file({"weight": torch.zeros(1000)}, file)
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(DensebenchError, match="cannot be read"):
        read_checkpoint(file)
    text = tmp_path / "text.pth"
    text.write_text("not a checkpoint at all")
    with pytest.raises(DensebenchError, match=r"text\.pth"):
        read_checkpoint(text)


def test_missing_file_and_no_tensors(tmp_path: Path) -> None:
    with pytest.raises(DensebenchError, match="No checkpoint at"):
        read_checkpoint(tmp_path / "nowhere.pth")
    with pytest.raises(DensebenchError, match="holds no tensors; its entries are: epoch"):
        state_dict_of({"epoch": 3})
    file = tmp_path / "list.pth"
    torch.save([torch.zeros(1)], file)
    with pytest.raises(DensebenchError, match="holds a list"):
        read_checkpoint(file)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model": state},
        lambda state: {"state_dict": {f"module.backbone.{name}": value for name, value in state.items()}},
        lambda state: {
            "state_dict": {f"backbone.{name}": value for name, value in state.items()}
            | {"decode_head.conv_seg.weight": torch.zeros(1)},
            "meta": {"epoch": 1},
        },
        lambda state: state,
    ],
    ids=["imagenet", "module_backbone", "downstream", "bare"],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_every_wrapper_loads_whole(tmp_path: Path, wrap: object, suffix: str) -> None:
    source, target = small_convnext(), small_convnext()
    file = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(wrap(source.state_dict()), file)
    else:
        save_file(source.state_dict(), file)
    report = load_state(target, backbone_state(state_dict_of(read_checkpoint(file))))
    assert report.matched_percent == 100 and not report.missing and not report.unexpected
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value)


def test_an_imagenet_checkpoint_lacks_the_output_norms_alone() -> None:
    source, target = small_convnext(), small_convnext()
    state = {name: value for name, value in source.state_dict().items() if not name.startswith("norm")}
    state |= {"norm.weight": torch.ones(32), "norm.bias": torch.zeros(32), "head.weight": torch.zeros(1000, 32)}
    report = load_state(target, backbone_state(state))
    assert set(report.missing) == {f"norm{level}.{kind}" for level in range(4) for kind in ("weight", "bias")}
    assert set(report.unexpected) == {"norm.weight", "norm.bias", "head.weight"}
    assert 90 < report.matched_percent < 100
    require_match(report, "file", "the backbone", 90.0, allow_partial=False)


def test_openmmlab_names_become_the_authors() -> None:
    names = {
        "stages.2.5.depthwise_conv.weight": "stages.2.5.dwconv.weight",
        "stages.2.5.pointwise_conv1.bias": "stages.2.5.pwconv1.bias",
        "stages.2.5.pointwise_conv2.weight": "stages.2.5.pwconv2.weight",
        "stages.2.5.norm.weight": "stages.2.5.norm.weight",
        "downsample_layers.0.0.weight": "downsample_layers.0.0.weight",
        "decode_head.conv_seg.weight": "decode_head.conv_seg.weight",
    }
    assert {name: official_convnext_name(name) for name in names} == names


def test_another_model_is_refused_unless_partial_is_allowed() -> None:
    report = load_state(small_convnext(), {"conv1.weight": torch.zeros(1), "norm0.weight": torch.zeros(99)})
    assert report.other_shape == ("norm0.weight",) and report.matched_percent == 0
    with pytest.raises(DensebenchError, match=r"(?s)fills 0\.0 % .*at least 90 %.*--allow-partial"):
        require_match(report, "resnet.pth", "the backbone", 90.0, allow_partial=False)
    require_match(report, "resnet.pth", "the backbone", 90.0, allow_partial=True)


def test_buffers_count(tmp_path: Path) -> None:
    module = nn.BatchNorm1d(4)
    report = load_state(module, {"weight": torch.ones(4), "bias": torch.zeros(4)})
    assert "running_mean" in report.missing and report.matched_percent == pytest.approx(100 * 8 / 17)


def test_a_file_packed_again_is_read_whole(tmp_path: Path) -> None:
    file, packed = tmp_path / "weights.pth", tmp_path / "packed.pth"
    torch.save({"weight": torch.arange(1000)}, file)
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in archive.infolist():
            target.writestr(entry.filename, archive.read(entry))
    for path in (file, packed):
        assert torch.equal(read_checkpoint(path, lazily=True)["weight"], torch.arange(1000))

"""The published recipe itself, full-size model and heads, on the miniature."""

from pathlib import Path

import pytest
import timm
import torch
from timm.models.convnext import checkpoint_filter_fn

import backbones
from densebench.data import mini
from densebench.results.records import read_records
from tests.running import run_tool


@pytest.fixture
def data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four images to test on: at twelve views, the 24 of the miniature take minutes."""
    monkeypatch.setattr(mini, "NUM_IMAGES", {"train": 4, "val": 4})
    return mini.make("ade20k", tmp_path)


@pytest.mark.slow
def test_the_published_recipe_trains_and_tests_on_the_miniature(tmp_path: Path, data_root: Path) -> None:
    options = ["upernet_convnext_t_ade20k", "--mini", "--data-root", data_root, "--work-dir", tmp_path]
    for command in (("train", *options, "--mini-iters", 2), ("test", *options), ("test", *options, "--aug-test")):
        result = run_tool(*command)
        assert result.returncode == 0, result.stderr
    records, problems = read_records([tmp_path])
    assert not problems and {record.kind for record in records} == {"test-ss", "test-ms"}
    assert all(record.cost["params_m"] == pytest.approx(60.24, abs=0.01) for record in records)


@pytest.mark.slow
@pytest.mark.parametrize(("ours", "theirs"), [("convnext_t", "convnext_tiny"), ("convnextv2_tiny", "convnextv2_tiny")])
def test_full_size_equals_timm(ours: str, theirs: str) -> None:
    torch.manual_seed(0)
    backbone = backbones.build(ours).eval()
    twin = timm.create_model(theirs, num_classes=0).eval()
    state = {name: value for name, value in backbone.state_dict().items() if not name.startswith("norm")}
    state["norm.weight"], state["norm.bias"] = torch.ones(768), torch.zeros(768)
    missing, unexpected = twin.load_state_dict(checkpoint_filter_fn(state, twin), strict=False)
    assert not missing and not unexpected
    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        raw = twin.forward_intermediates(image, intermediates_only=True)
        for index, (found, level) in enumerate(zip(backbone(image), raw, strict=True)):
            torch.testing.assert_close(found, backbone.get_submodule(f"norm{index}")(level), rtol=1e-5, atol=1e-5)

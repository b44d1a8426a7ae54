"""The running sum over views predicts what mmseg's own loop over all views predicts."""

from collections.abc import Iterator

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner

import densebench.registration  # noqa: F401
from densebench.recipe import RunOptions, resolve


@pytest.fixture(autouse=True)
def mmseg_scope() -> Iterator[None]:
    with DefaultScope.overwrite_default_scope("mmseg"):
        yield


@pytest.mark.parametrize("mode", ["whole", "slide"])
def test_equals_mmseg_over_all_views(tiny_recipe: object, mode: str) -> None:
    torch.manual_seed(0)
    overrides = {"test_ms.mode": mode}
    if mode == "slide":
        overrides |= {"test_ms.crop_size": (512, 512), "test_ms.stride": (341, 341)}
    config = resolve(RunOptions(str(tiny_recipe), mini=True, cfg_options=overrides), protocol="test-ms").config
    module = MODELS.build(config.model).eval()
    # Class scores that differ from place to place, so that the views disagree.
    torch.nn.init.normal_(module.decode_head.conv_seg.weight, std=3.0)
    torch.nn.init.zeros_(module.decode_head.conv_seg.bias)
    streaming = MODELS.build({"type": "StreamingMultiScaleTest", "module": module})
    vanilla = MODELS.build({"type": "SegTTAModel", "module": module})

    loader = iter(Runner.build_dataloader(config.test_dataloader))
    for _ in range(3):
        batch = next(loader)
        assert len(batch["inputs"]) == 12
        with torch.no_grad():
            (found,), (expected,) = streaming.test_step(batch), vanilla.test_step(batch)
        assert found.pred_sem_seg.data.shape == expected.pred_sem_seg.data.shape
        assert (found.pred_sem_seg.data == expected.pred_sem_seg.data).float().mean() > 0.9999  # but for ties
        assert found.pred_sem_seg.data.unique().numel() > 5
        assert "seg_logits" not in found and found.gt_sem_seg.data.shape == found.pred_sem_seg.data.shape

"""The running sum over views predicts what mmseg's own loop over all views predicts."""

import copy
import math
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from mmseg.structures import SegDataSample

import densebench.registration  # noqa: F401
from densebench.engine.amp import low_precision
from densebench.errors import DensebenchError
from densebench.evaluation import view_scores
from densebench.recipe import RunOptions, resolve

SLIDE = {"mode": "slide", "crop_size": (512, 512), "stride": (341, 341)}


@pytest.fixture(autouse=True)
def mmseg_scope() -> Iterator[None]:
    with DefaultScope.overwrite_default_scope("mmseg"):
        yield


def model_and_batches(tiny_recipe: object, protocol: str, mode: str) -> tuple[Any, Iterator[Any]]:
    """A segmentor whose class scores differ from place to place, so that the views disagree, and its test data."""
    torch.manual_seed(0)
    settings = SLIDE if mode == "slide" else {"mode": "whole"}
    overrides = {f"{protocol.replace('-', '_')}.{key}": value for key, value in settings.items()}
    config = resolve(RunOptions(str(tiny_recipe), mini=True, cfg_options=overrides), protocol=protocol).config
    module = MODELS.build(config.model).eval()
    torch.nn.init.normal_(module.decode_head.conv_seg.weight, std=3.0)
    torch.nn.init.zeros_(module.decode_head.conv_seg.bias)
    return module, iter(Runner.build_dataloader(config.test_dataloader))


def streaming(module: Any, **settings: Any) -> Any:
    return MODELS.build({"type": "StreamingMultiScaleTest", "module": module, **settings})


def agreement(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert found.unique().numel() > 5
    return (found == expected).float().mean().item()


@pytest.mark.parametrize("mode", ["whole", "slide"])
def test_equals_mmseg_over_all_views(tiny_recipe: object, mode: str) -> None:
    module, batches = model_and_batches(tiny_recipe, "test-ms", mode)
    vanilla = MODELS.build({"type": "SegTTAModel", "module": module})
    for _ in range(3):
        batch = next(batches)
        assert len(batch["inputs"]) == 12
        with torch.no_grad():
            (found,), (expected,) = streaming(module).test_step(batch), vanilla.test_step(batch)
        expected_classes = expected.pred_sem_seg.data.reshape(found.pred_sem_seg.data.shape)
        assert agreement(found.pred_sem_seg.data, expected_classes) > 0.9999  # but for ties
        assert "seg_logits" not in found and found.gt_sem_seg.data.shape == found.pred_sem_seg.data.shape


@pytest.mark.parametrize("mode", ["whole", "slide"])
def test_one_view_equals_mmseg(tiny_recipe: object, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_scores, "NUMBERS_AT_ONCE", 10_000)  # several blocks an image
    module, batches = model_and_batches(tiny_recipe, "test-ss", mode)
    for _ in range(3):
        batch = next(batches)
        with torch.no_grad():
            (found,), (expected,) = streaming(module).test_step(batch), module.test_step(batch)
        assert agreement(found.pred_sem_seg.data, expected.pred_sem_seg.data) > 0.9999
        assert found.img_path == expected.img_path


@pytest.mark.parametrize("protocol", ["test-ss", "test-ms"])
def test_a_head_of_one_channel_tells_two_classes(tiny_recipe: object, protocol: str) -> None:
    module, batches = model_and_batches(tiny_recipe, protocol, "whole")
    head = module.decode_head
    head.conv_seg = torch.nn.Conv2d(head.channels, 1, 1)
    torch.nn.init.normal_(head.conv_seg.weight, std=3.0)
    head.out_channels = module.out_channels = 1
    head.threshold = 0.4
    batch = next(batches)
    inputs, samples = batch["inputs"], batch["data_samples"]
    views = [(inputs, samples)] if protocol == "test-ss" else zip(inputs, samples, strict=True)
    with torch.no_grad():
        (found,) = streaming(module).test_step(copy.deepcopy(batch))
        # What mmseg calls seg_logits has been through the sigmoid here; its SegTTAModel applies a second one.
        outputs = [module.test_step({"inputs": view, "data_samples": sample})[0] for view, sample in views]
    expected = torch.stack([output.seg_logits.data for output in outputs]).mean(0) > 0.4
    classes = found.pred_sem_seg.data
    assert classes.unique().tolist() == [0, 1]
    assert (classes == expected).float().mean() > 0.9999


def test_one_ratio_without_flip_is_the_single_view(tiny_recipe: object) -> None:
    overrides = {"test_ms.ratios": [1.0], "test_ms.flip": False}
    config = resolve(RunOptions(str(tiny_recipe), mini=True, cfg_options=overrides), protocol="test-ms").config
    module, batches = model_and_batches(tiny_recipe, "test-ss", "whole")
    single = next(batches)
    (batch, *_) = Runner.build_dataloader(config.test_dataloader)
    with torch.no_grad():
        (found,), (expected,) = streaming(module).test_step(batch), streaming(module).test_step(single)
    assert torch.equal(found.pred_sem_seg.data, expected.pred_sem_seg.data)


@pytest.mark.parametrize("protocol", ["test-ss", "test-ms"])
def test_low_precision_reaches_the_network_and_changes_little(tiny_recipe: object, protocol: str) -> None:
    module, batches = model_and_batches(tiny_recipe, protocol, "whole")
    precisions = set()
    layers = (module.decode_head.conv_seg, *(m for m in module.backbone.modules() if isinstance(m, torch.nn.Linear)))
    for layer in layers:
        layer.register_forward_hook(lambda layer, inputs, output: precisions.add(output.dtype))
    batch = next(batches)
    with torch.no_grad():
        (expected,) = streaming(module).test_step(copy.deepcopy(batch))
        assert precisions == {torch.float32}
        precisions.clear()
        with low_precision(module, torch.bfloat16):
            (found,) = streaming(module).test_step(batch)
    assert precisions == {torch.bfloat16}
    assert agreement(found.pred_sem_seg.data, expected.pred_sem_seg.data) > 0.95


@pytest.mark.parametrize("align_corners", [False, True])
def test_mirrored_and_padded_view_with_align_corners(tiny_recipe: object, align_corners: bool) -> None:
    module, _ = model_and_batches(tiny_recipe, "test-ss", "whole")
    module.align_corners = module.decode_head.align_corners = align_corners
    image = torch.randn(3, 100, 140)
    for direction in ("horizontal", "vertical"):
        metainfo = {
            "flip": True,
            "flip_direction": direction,
            "img_padding_size": (0, 13, 0, 7),  # left, right, top, bottom
            "ori_shape": (61, 170),
            "img_shape": (100, 140),
            "pad_shape": (100, 140),
        }
        sample = SegDataSample(metainfo=metainfo)
        with torch.no_grad():
            expected = module.postprocess_result(module.inference(image[None], [metainfo]), [sample])[0].seg_logits.data
            scores = view_scores.view_scores(module, image, metainfo)
        found = scores.block(0, 61).permute(2, 0, 1)
        assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_bounded_memory_gives_the_same(tiny_recipe: object) -> None:
    module, batches = model_and_batches(tiny_recipe, "test-ms", "whole")
    batch = {key: views[3::3] for key, views in next(batches).items()}  # of three sizes, two mirrored
    (expected,) = streaming(module).test_step(batch)
    height, width = expected.pred_sem_seg.data.shape[1:]
    expected_classes = expected.pred_sem_seg.data.clone()
    sum_gb = height * width * module.num_classes * 4 / 1e9
    computed = []
    for share in (0.3, 0.06):  # some of the views are kept; none is
        bounded = streaming(module, max_memory_gb=share * sum_gb)
        with mock.patch.object(bounded, "_scores", wraps=bounded._scores) as scores:
            (found,) = bounded.test_step(batch)
        assert torch.equal(found.pred_sem_seg.data, expected_classes)
        computed.append(scores.call_count)
    bands = [math.ceil(height / max(int(share / 2 * height), 1)) for share in (0.3, 0.06)]
    assert 3 < computed[0] < 3 * bands[0] and computed[1] == 3 * bands[1]
    with pytest.raises(DensebenchError, match="more than 0 GB"):
        streaming(module, max_memory_gb=0)


def test_probabilities_are_not_rounded_under_autocast(tiny_recipe: object) -> None:
    module, batches = model_and_batches(tiny_recipe, "test-ms", "whole")
    scores = view_scores.view_scores(module, torch.randn(3, 64, 96), {"ori_shape": (50, 70)})
    exact = scores.block(0, 50)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(scores.block(0, 50), exact)
        assert (
            view_scores.view_scores(module, torch.randn(3, 64, 96), {"ori_shape": (50, 70)}).maps.dtype == exact.dtype
        )
        (found,) = streaming(module).test_step(next(batches))
    assert found.pred_sem_seg.data.unique().numel() > 5

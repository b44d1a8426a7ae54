"""The predicted memory of a training step: its parts on cases with a known answer, and against published figures."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import densebench.registration  # noqa: F401
from densebench.cost.training_memory.cuda_operators import CudaOperators
from densebench.cost.training_memory.estimate import (
    MemoryEstimate,
    TrainingStep,
    estimate,
    largest_training_batch,
    seen_as_autocast,
)
from densebench.cost.training_memory.live_storages import LiveStorages, rounded
from densebench.cost.training_memory.published import fit, published_steps
from densebench.cost.training_memory.scratch import scratch_bytes
from densebench.errors import DensebenchError
from densebench.recipe import CONFIG_FOLDER, RunOptions, resolve

KB = 1024


def test_the_peak_is_what_is_alive_at_once() -> None:
    with FakeTensorMode():
        known = torch.empty(KB)
        with LiveStorages([known]) as live:
            first = torch.empty(30 * KB)  # 120 KB
            view = first[KB:]
            del first  # the view holds it
            second = torch.empty(20 * KB)
            del view
            third = torch.empty(25 * KB)
            _ = known.view(2, -1)
            assert live.bytes_now == (20 + 25) * 4 * KB
            assert live.peak_bytes == (30 + 20) * 4 * KB
            del second, third
            assert live.bytes_now == 0


@pytest.mark.parametrize(("requested", "given"), [(0, 0), (1, 512), (512, 512), (513, 1024)])
def test_blocks_of_the_allocator(requested: int, given: int) -> None:
    assert rounded(requested) == given


def test_winograd_workspace_of_dense_3x3_kernels_alone() -> None:
    convolution = torch.ops.aten.convolution.default
    x, dense, depthwise = torch.empty(2, 8, 16, 16), torch.empty(4, 8, 3, 3), torch.empty(8, 1, 3, 3)
    # 2.25 times input and output, 4 times the weights, in float32.
    expected = (2.25 * (2 * 8 * 256 + 2 * 4 * 256) + 4 * dense.numel()) * 4
    assert scratch_bytes(convolution, (x, dense, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1)) == expected
    for weight, stride, dilation, groups in (
        (dense, 2, 1, 1),
        (dense, 1, 12, 1),
        (depthwise, 1, 1, 8),
        (torch.empty(4, 8, 1, 1), 1, 1, 1),
    ):
        arguments = (x, weight, None, [stride] * 2, [1, 1], [dilation] * 2, False, [0, 0], groups)
        assert scratch_bytes(convolution, arguments) == 0


def test_autocast_follows_the_lists_of_cuda() -> None:
    layers = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 8))
    x = torch.zeros(4, 8)
    with FakeTensorMode(allow_non_fake_inputs=True), CudaOperators(half=True) as cuda:
        linear = layers[0](x)
        normalized = layers[1](linear)
        assert (linear.dtype, normalized.dtype) == (torch.float16, torch.float32)
        assert layers[2](linear).dtype == torch.float16
        assert layers[0](x).grad_fn is not None and len(cuda._cast_weights) == 2  # weight and bias, cast once
    with FakeTensorMode(allow_non_fake_inputs=True), CudaOperators(half=False):
        assert layers[0](x).dtype == torch.float32


def test_layers_that_ask_are_told_of_autocast() -> None:
    with seen_as_autocast(amp=True):
        assert torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.float16
    with seen_as_autocast(amp=False):
        assert not torch.is_autocast_enabled("cpu")
    assert not torch.is_autocast_enabled("cpu")


def test_what_only_contents_tell_is_answered() -> None:
    with FakeTensorMode(), CudaOperators(half=False, shares=4):
        scores, mask = torch.empty(12, 3), torch.empty(12, dtype=torch.bool)
        assert scores[mask].shape == (12, 3)
        assert mask.nonzero().shape == (3, 1)
        assert scores.sum().item() == 1.0
        assert bool(mask.any())


def predicted(config: str, step: TrainingStep, **cfg_options: object) -> MemoryEstimate:
    recipe = resolve(RunOptions(config, pretrained="none", cfg_options=cfg_options), with_data=False)
    return estimate(recipe.config.model, recipe.config.default_scope, "AdamW", step)


def test_parts_of_an_estimate_and_what_changes_them() -> None:
    config = str(CONFIG_FOLDER / "demo" / "upernet_convnextv2_atto_ade20k.py")
    few, more, half, several = (
        predicted(config, step)
        for step in (
            TrainingStep(2, (128, 128)),
            TrainingStep(4, (128, 128)),
            TrainingStep(4, (128, 128), amp=True),
            TrainingStep(4, (128, 128), distributed=True),
        )
    )
    assert more.optimizer_mb == pytest.approx(2 * several.buckets_mb)
    assert more.parameters_mb == pytest.approx(several.buckets_mb, rel=0.01)  # and the buffers of batch norms
    assert several.peak_mb == pytest.approx(more.peak_mb + several.buckets_mb)
    assert few.activations_mb < more.activations_mb < 2 * few.activations_mb
    assert half.activations_mb < more.activations_mb
    assert more.peak_mb == pytest.approx(more.parameters_mb + more.optimizer_mb + more.activations_mb)


def test_one_image_is_too_few_for_batch_norm_of_a_pooled_map() -> None:
    with pytest.raises(DensebenchError, match=r"cannot be trained on 1 image.*--batch-size 2"):
        predicted(str(CONFIG_FOLDER / "demo" / "upernet_convnextv2_atto_ade20k.py"), TrainingStep(1, (64, 64)))


@pytest.mark.parametrize("config", ["mask_rcnn_resnet50_coco_1x", "fcos_resnet50_coco_1x"])
def test_detectors_are_predicted(config: str) -> None:
    found = predicted(config, TrainingStep(1, (320, 256)))
    assert found.activations_mb > found.parameters_mb
    assert found.correction_mb > 0


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ("upernet_convnext_t_ade20k", (512, 512)),
        ("mask_rcnn_resnet50_coco_1x", (1344, 800)),
        ("mask_rcnn_convnext_t_coco", (1344, 1280)),
        ("mask_rcnn_convnextv2_base_coco_fcmae", (1024, 1024)),
    ],
)
def test_largest_training_batches(config: str, size: tuple[int, int]) -> None:
    description = resolve(RunOptions(config, pretrained="none"), with_data=False).description
    assert largest_training_batch(description) == size


@pytest.mark.slow
def test_published_memory_is_predicted() -> None:
    steps, left_out = published_steps()
    assert len(steps) >= 80 and len(left_out) <= 6
    every_fourth = steps[1::4]  # none of them was the correction fitted on
    estimates = [step.predict() for step in every_fourth]
    errors = sorted(
        abs(found.peak_mb / step.published_mb - 1) for step, found in zip(every_fourth, estimates, strict=True)
    )
    assert errors[len(errors) // 2] < 0.03
    # A larger published figure has a larger prediction, in nearly all pairs that are 10 % apart.
    pairs = [
        (one.peak_mb < other.peak_mb)
        for step, one in zip(every_fourth, estimates, strict=True)
        for another, other in zip(every_fourth, estimates, strict=True)
        if step.published_mb * 1.1 < another.published_mb
    ]
    assert sum(pairs) / len(pairs) > 0.97
    correction = fit(every_fourth, estimates)
    assert 300 < correction.detection_mb < 700

"""Predicted peak memory of a training step, from fake tensors."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.registry import DefaultScope
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from densebench.building import building
from densebench.cost.count import is_detection, is_detector
from densebench.cost.memory import BYTES_PER_MB
from densebench.cost.training_memory.cuda_operators import CudaOperators
from densebench.cost.training_memory.live_storages import LiveStorages, rounded
from densebench.cost.training_memory.losses import training_loss
from densebench.cost.training_memory.scratch import scratch_bytes
from densebench.errors import DensebenchError
from densebench.meta_device import build_on_meta

# float32 numbers that an optimizer keeps for each parameter.
OPTIMIZER_STATES = {"SGD": 1, "AdamW": 2, "Adam": 2}


@dataclass(frozen=True)
class TrainingStep:
    """What a training step on one GPU is, as far as its memory goes."""

    images: int  # a GPU
    size: tuple[int, int]  # width, height of the batch
    amp: bool = False  # autocast to float16
    distributed: bool = False  # gradients are copied into buckets, which are kept
    keeps_gradients: bool = False  # set to zero, not freed, between steps: torch before 2.0
    fused_attention: bool = True  # torch's own kernel; published baselines keep the matrices


@dataclass(frozen=True)
class Correction:
    """What the tensors of a step miss, fitted on every second published row (tests/perf/memory_estimate.py)."""

    # Matching of anchors or points with objects, suppression of proposals: their sizes depend on contents.
    detection_mb: float = 519.0
    # Of activations in mixed precision: casts that the implementations of that time kept, and ours do not.
    amp_share: float = 0.178

    def mb(self, activations_mb: float, is_detection: bool, amp: bool) -> float:
        """MiB to add to a prediction."""
        return (self.detection_mb if is_detection else 0.0) + (self.amp_share * activations_mb if amp else 0.0)


@dataclass(frozen=True)
class MemoryEstimate:
    """MiB on the GPU at the peak of a step, and what they are."""

    peak_mb: float  # all of the following
    parameters_mb: float  # with buffers
    optimizer_mb: float
    buckets_mb: float
    activations_mb: float  # the rest: activations kept for the backward pass, gradients, temporaries, workspaces
    correction_mb: float  # see Correction
    at: str  # operator at which the peak is reached


def estimate(
    model_config: Mapping[str, Any],
    scope: str,
    optimizer: str,
    step: TrainingStep,
    correction: Correction = Correction(),  # frozen
) -> MemoryEstimate:
    """The peak of the tensors of a training step (forward, losses, backward) once the optimizer has its state.

    Args:
        scope: of the registry, mmseg or mmdet.
        optimizer: its class, which says what it keeps.

    Raises:
        DensebenchError: the model cannot be built, or not trained on so few images.
    """
    with building(scope):
        model, _ = build_on_meta(model_config)
    width, height = step.size
    with FakeTensorMode(allow_non_fake_inputs=True), torch.random.fork_rng(devices=[]):
        make_fake(model)
        model.train()
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not step.fused_attention:
            keep_attention_matrices(model)
        live = LiveStorages([*model.parameters(), *model.buffers()], scratch_bytes)
        cuda = CudaOperators(step.amp)
        with live, cuda, seen_as_autocast(step.amp):
            if step.keeps_gradients:
                for parameter in trained:
                    parameter.grad = torch.zeros_like(parameter)
            # Losses build parts by name while they run.
            with DefaultScope.overwrite_default_scope(scope), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # mmseg's losses give advice on their defaults
                try:
                    loss = training_loss(model, torch.zeros(step.images, 3, height, width))
                except ValueError as error:  # batch norm of a map of one pixel
                    raise DensebenchError(
                        f"The model cannot be trained on {step.images} image(s) of {width}x{height} a GPU: {error}. "
                        "Choose more: --batch-size 2."
                    ) from error
                cuda.forget_casts()
                # `loss.backward()` would leave the mode, which parts of the forward pass that are computed again need.
                run_backward: Any = torch.autograd.Variable._execution_engine.run_backward
                run_backward((loss,), (torch.ones_like(loss),), False, False, (), True, True)
    parameters = sum(rounded(tensor.numel() * tensor.element_size()) for tensor in held_by(model))
    per_state = sum(rounded(4 * parameter.numel()) for parameter in trained)
    optimizer_bytes = OPTIMIZER_STATES.get(optimizer, 2) * per_state
    buckets = per_state if step.distributed else 0
    tensors_mb = (parameters + optimizer_bytes + buckets + live.peak_bytes) / BYTES_PER_MB
    correction_mb = correction.mb(live.peak_bytes / BYTES_PER_MB, is_detector(model), step.amp)
    return MemoryEstimate(
        peak_mb=tensors_mb + correction_mb,
        parameters_mb=parameters / BYTES_PER_MB,
        optimizer_mb=optimizer_bytes / BYTES_PER_MB,
        buckets_mb=buckets / BYTES_PER_MB,
        activations_mb=live.peak_bytes / BYTES_PER_MB,
        correction_mb=correction_mb,
        at=live.peak_operator,
    )


def largest_training_batch(description: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height of the largest batch that a recipe's training images make, padded to multiples of 32.

    With crops (sides of 384 to 600, say) an upright image may meet a wide one: both are padded to the larger sides.
    """
    if not is_detection(description["method"]):
        height, width = description["crop_size"]
        return width, height
    if description.get("jitter_size"):
        height, width = description["jitter_size"]
        return width, height
    long = description["train_long_side"]
    short = max(description.get("train_short_range") or description["train_short_sides"])
    height = short
    if description.get("crop_size"):
        smallest, largest = description["crop_size"]
        height = min(long, short * largest // smallest)
    return padded(long), padded(height)


def padded(side: int, divisor: int = 32) -> int:
    """A side in pixels after padding."""
    return -(-side // divisor) * divisor


def held_by(model: nn.Module) -> Iterator[torch.Tensor]:
    """Parameters and buffers."""
    yield from model.parameters()
    yield from model.buffers()


@contextmanager
def seen_as_autocast(amp: bool) -> Iterator[None]:
    """Layers that ask whether autocast is on hear what they would on the GPU; the CPU autocast stays off."""
    if not amp:
        yield
        return
    names = ("is_autocast_enabled", "get_autocast_dtype")
    before = [getattr(torch, name) for name in names]
    answers: tuple[Any, ...] = (lambda *device: True, lambda *device: torch.float16)
    try:
        for name, answer in zip(names, answers, strict=True):
            setattr(torch, name, answer)
        yield
    finally:
        for name, function in zip(names, before, strict=True):
            setattr(torch, name, function)


def keep_attention_matrices(model: nn.Module) -> None:
    """Attention of timm's models as products and a softmax."""
    for module in model.modules():
        if "fused_attn" in vars(module):
            vars(module)["fused_attn"] = False


def make_fake(model: nn.Module) -> None:
    """Replace parameters and buffers by fake ones on the CPU; under a FakeTensorMode."""
    fakes: dict[torch.Tensor, torch.Tensor] = {}  # parameters that two modules share stay shared
    for module in model.modules():
        stores: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for store in stores:
            for name, tensor in store.items():
                if tensor is None:
                    continue
                if tensor not in fakes:
                    fake = torch.empty(tensor.shape, dtype=tensor.dtype)
                    is_parameter = isinstance(tensor, nn.Parameter)
                    fakes[tensor] = nn.Parameter(fake, tensor.requires_grad) if is_parameter else fake
                store[name] = fakes[tensor]

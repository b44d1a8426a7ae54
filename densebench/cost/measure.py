"""All costs of one recipe: the `cost` part of a record (docs of its keys: contract)."""

from __future__ import annotations

import itertools
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from densebench.cost import MEASUREMENTS
from densebench.cost.count import (
    build_for_counting,
    building,
    computed_flops_g,
    flops_by_part,
    params_m,
    published_shape,
)
from densebench.cost.latency import LatencyProtocol, measure_latency
from densebench.cost.memory import peak_memory_mb
from densebench.errors import DensebenchError
from densebench.merging import merge_backbone
from densebench.recipe import Recipe


@dataclass(frozen=True)
class CostSettings:
    """What is measured, and how."""

    only: tuple[str, ...] = MEASUREMENTS
    shape: tuple[int, int] | None = None  # width, height; None: the published input of the recipe
    batch_size: int = 1  # of latency and memory; FLOPs are those of one image
    device: str | None = None  # None: cuda where there is one
    amp: bool = False  # autocast, to float16 on CUDA as the recipes train, to bfloat16 on the CPU
    channels_last: bool = False
    merge: bool = True  # re-parameterized backbones as they are deployed; FLOPs and parameters stay those of training
    latency: LatencyProtocol = field(default_factory=LatencyProtocol)


def measure(recipe: Recipe, settings: CostSettings | None = None) -> dict[str, Any]:
    """The record's `cost`; what was not asked for is None. Latency and memory are of a model with random weights.

    They are measured on the network's forward, `model(inputs, mode="tensor")`, from a batch of normalized images in
    the device's memory to logits; loading, resizing and post-processing are not in it.

    Raises:
        DensebenchError: no such device, a model or an input size that cannot be measured, too little memory.
    """
    settings = settings or CostSettings()
    shape = input_shape(recipe, settings)
    cost = _counted(recipe, settings, shape) | _on_device(recipe, settings, shape)
    return {**cost, "train_peak_memory_mb": None}


def input_shape(recipe: Recipe, settings: CostSettings) -> tuple[int, int]:
    """Width and height of what the costs are measured on."""
    return settings.shape or published_shape(recipe.description, recipe.identity.mini)


def device_name(device: torch.device) -> str:
    """The model of a processor as its maker names it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    fields = (line.partition(":") for line in lines)
    names = (value.strip() for key, _, value in fields if key.strip() == "model name")
    return next(names, platform.processor() or platform.machine())


def _counted(recipe: Recipe, settings: CostSettings, shape: tuple[int, int]) -> dict[str, Any]:
    counted: dict[str, Any] = dict.fromkeys(("params_m", "flops_g", "flops_g_computed", "flops_input", "flops_by_part"))
    if not {"params", "flops"} & set(settings.only):
        return counted
    model = build_for_counting(recipe.config.model)
    if "params" in settings.only:
        counted["params_m"] = params_m(model)
    if "flops" in settings.only:
        by_part = flops_by_part(model, shape)
        counted |= {
            "flops_g": sum(by_part.values()),
            "flops_g_computed": computed_flops_g(recipe.config.model, shape),
            "flops_input": list(shape),
            "flops_by_part": by_part,
        }
    return counted


def _on_device(recipe: Recipe, settings: CostSettings, shape: tuple[int, int]) -> dict[str, Any]:
    conditions = ("device", "dtype", "threads", "memory_format", "merged")
    measured: dict[str, Any] = dict.fromkeys(("fps", "latency_ms", "peak_memory_mb", *conditions))
    if not {"latency", "memory"} & set(settings.only):
        return measured
    if "decode_head" not in recipe.config.model:
        raise DensebenchError(
            f"Latency and memory are measured for segmentors alone, not for {recipe.identity.method}; what can be had "
            "for it: --only params,flops."
        )
    device = _device(settings.device)
    with _explained(shape, settings.batch_size):
        model, inputs = _model_and_inputs(recipe, settings, shape, device)
        measured["merged"] = merge_backbone(model, settings.merge)
        run = _forward(model, inputs, settings)
        if "latency" in settings.only:
            latency = measure_latency(run, device, settings.latency)
            measured["fps"] = 1000 / latency.median_ms * settings.batch_size
            measured["latency_ms"] = {
                "median": latency.median_ms,
                "p5": latency.p5_ms,
                "p95": latency.p95_ms,
                "iqr": latency.iqr_ms,
                "runs": latency.runs,
                "warmup_runs": latency.warmup_runs,
                "warmup_stable": latency.is_stable,
                "batch_size": settings.batch_size,
                "input": list(shape),
            }
        if "memory" in settings.only:
            held = itertools.chain(model.parameters(), model.buffers(), [inputs])
            measured["peak_memory_mb"] = peak_memory_mb(run, device, held)
    return measured | {
        "device": device_name(device),
        "dtype": str(_dtype(settings, device)).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "memory_format": "channels_last" if settings.channels_last else "contiguous",
    }


def _device(name: str | None) -> torch.device:
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise DensebenchError(
            "--device cuda: torch finds no CUDA device here. Measure on the CPU (--device cpu), or what needs no "
            "device: --only params,flops."
        )
    return torch.device(name or ("cuda" if has_cuda else "cpu"))


def _dtype(settings: CostSettings, device: torch.device) -> torch.dtype:
    if not settings.amp:
        return torch.float32
    return torch.float16 if device.type == "cuda" else torch.bfloat16


def _model_and_inputs(
    recipe: Recipe, settings: CostSettings, shape: tuple[int, int], device: torch.device
) -> tuple[nn.Module, Tensor]:
    """The model in test mode with random weights, and inputs (N, 3, H, W) of normal noise."""
    width, height = shape
    with building(recipe.config.default_scope):
        model = MODELS.build(recipe.config.model)
    inputs = torch.randn(settings.batch_size, 3, height, width, generator=torch.Generator().manual_seed(0))
    memory_format = torch.channels_last if settings.channels_last else torch.contiguous_format
    return (
        model.eval().to(device=device, memory_format=memory_format),
        inputs.to(device=device, memory_format=memory_format),
    )


def _forward(model: nn.Module, inputs: Tensor, settings: CostSettings) -> Callable[[], object]:
    device = inputs.device

    def run() -> object:
        with torch.autocast(device.type, dtype=_dtype(settings, device), enabled=settings.amp):
            return model(inputs, mode="tensor")

    return run


@contextmanager
def _explained(shape: tuple[int, int], batch_size: int) -> Iterator[None]:
    what = f"{batch_size} image{'' if batch_size == 1 else 's'} of {shape[0]}x{shape[1]} pixels"
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise DensebenchError(
            f"The device's memory does not hold an inference of {what}: {error} "
            "Choose a smaller --shape or --batch-size, or --only params,flops, which takes none."
        ) from error
    except RuntimeError as error:
        raise DensebenchError(
            f"The model cannot be run on {what}: {error}. Choose another size: --shape W H."
        ) from error

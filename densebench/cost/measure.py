"""All costs of one recipe: the `cost` part of a record (docs of its keys: contract)."""

from __future__ import annotations

import itertools
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from densebench.building import building
from densebench.cost import MEASUREMENTS
from densebench.cost.count import (
    DETECTION_METHODS,
    build_for_counting,
    computed_flops_g,
    flops_by_part,
    params_m,
    published_shape,
)
from densebench.cost.detector_run import build_detector, detection_step, random_images
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

    Of a segmentor they are measured on the network's forward, `model(inputs, mode="tensor")`, from a batch of
    normalized images in the device's memory to logits; of a detector, whose post-processing is much of its work, on
    the whole step from 8-bit images to boxes and masks (`densebench.cost.detector_run`). Loading and resizing are not
    in it.

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
    device = _device(settings.device)
    with _explained(shape, settings.batch_size):
        model = _model(recipe, settings, device)
        measured["merged"] = merge_backbone(model, settings.merge)
        run, inputs = _run_and_inputs(recipe, model, settings, shape, device)
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
            held = itertools.chain(model.parameters(), model.buffers(), inputs)
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


def _is_detector(recipe: Recipe) -> bool:
    return recipe.identity.method in DETECTION_METHODS


def _model(recipe: Recipe, settings: CostSettings, device: torch.device) -> nn.Module:
    """The model in test mode with random weights."""
    with building(recipe.config.default_scope):
        model: nn.Module = (
            build_detector(recipe.config.model) if _is_detector(recipe) else MODELS.build(recipe.config.model)
        )
    memory_format = torch.channels_last if settings.channels_last else torch.contiguous_format
    model.eval().to(device=device).to(memory_format=memory_format)
    return model


def _run_and_inputs(
    recipe: Recipe, model: nn.Module, settings: CostSettings, shape: tuple[int, int], device: torch.device
) -> tuple[Callable[[], object], list[Tensor]]:
    """What is measured, and the tensors that it takes."""
    autocast = partial(torch.autocast, device.type, dtype=_dtype(settings, device), enabled=settings.amp)
    if _is_detector(recipe):
        images = random_images(shape, settings.batch_size, device)
        with torch.inference_mode(), autocast(), DefaultScope.overwrite_default_scope(recipe.config.default_scope):
            step = detection_step(model, images)
        return _under(autocast, step), images
    width, height = shape
    inputs = torch.randn(settings.batch_size, 3, height, width, generator=torch.Generator().manual_seed(0))
    memory_format = torch.channels_last if settings.channels_last else torch.contiguous_format
    inputs = inputs.to(device=device, memory_format=memory_format)
    return _under(autocast, partial(model, inputs, mode="tensor")), [inputs]


def _under(autocast: Callable[[], Any], run: Callable[[], object]) -> Callable[[], object]:
    def run_in_precision() -> object:
        with autocast():
            return run()

    return run_in_precision


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

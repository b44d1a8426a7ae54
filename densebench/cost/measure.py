"""All costs of one recipe: the `cost` part of a record (docs/cost.md, "The record")."""

from __future__ import annotations

import itertools
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import torch
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from densebench.building import building
from densebench.cost import MEASUREMENTS
from densebench.cost.compilation import compile_parts
from densebench.cost.conditions import available_mb, chosen_device, chosen_dtype, clock_mhz, device_name
from densebench.cost.count import (
    build_for_counting,
    count_flops,
    flops_entries,
    is_detection,
    params_by_part,
    params_m,
    published_shape,
)
from densebench.cost.detector_run import build_detector, detection_step, random_images
from densebench.cost.latency import Latency, LatencyProtocol, measure_latency
from densebench.cost.latency_parts import measure_parts
from densebench.cost.memory import peak_memory_mb, training_peak_memory_mb
from densebench.cost.segmentor_run import multi_scale_step, segmentation_step
from densebench.cost.training_memory.estimate import TrainingStep, estimate, largest_training_batch
from densebench.cost.training_step import training_step
from densebench.errors import DensebenchError
from densebench.merging import merge_backbone
from densebench.recipe import Recipe

__all__ = ["CostSettings", "device_name", "input_shape", "measure"]


@dataclass(frozen=True)
class CostSettings:
    """What is measured, and how."""

    only: tuple[str, ...] = MEASUREMENTS
    shape: tuple[int, int] | None = None  # width, height; None: the published input of the recipe
    batch_size: int | None = None  # None: 1 in tests, 2 in training, which norms of pooled maps need; FLOPs: of 1
    device: str | None = None  # None: cuda where there is one
    amp: bool = False  # autocast, to float16 on CUDA as the recipes train, to bfloat16 on the CPU
    channels_last: bool = False
    compile: bool = False  # backbone, neck and dense heads
    merge: bool = True  # re-parameterized backbones as they are deployed; FLOPs and parameters stay those of training
    multi_scale: bool = False  # the latency of the recipe's whole multi-scale pass as well
    estimate: bool = False  # the memory of a training step on a GPU is predicted, none is measured
    split: bool = True  # latency end to end and by part as well
    latency: LatencyProtocol = field(default_factory=LatencyProtocol)

    @property
    def test_batch(self) -> int:
        """Images at once in latency and in the memory of inference."""
        return self.batch_size or 1

    @property
    def training_batch(self) -> int:
        """Images a step."""
        return self.batch_size or 2


def measure(recipe: Recipe, settings: CostSettings | None = None) -> dict[str, Any]:
    """The record's `cost`; what was not asked for is None. Latency and memory are of a model with random weights.

    `latency_ms` of a segmentor is its network's, `model(inputs, mode="tensor")`, from a batch of normalized images in
    the device's memory to logits, and `end_to_end` stands beside it; of a detector, whose post-processing is much of
    its work, it is the whole step from 8-bit images to boxes and masks. Loading and resizing are in neither.

    Raises:
        DensebenchError: no such device, a model or an input size that cannot be measured, too little memory.
    """
    settings = settings or CostSettings()
    shape = input_shape(recipe, settings)
    cost = _counted(recipe, settings, shape)
    if settings.estimate:
        return {**cost, **_not_measured(), "train_memory_estimate": _estimated(recipe, settings)}
    return cost | _on_device(recipe, settings, shape)


def input_shape(recipe: Recipe, settings: CostSettings) -> tuple[int, int]:
    """Width and height of what the costs are measured on."""
    return settings.shape or published_shape(recipe.description, recipe.identity.mini)


def _counted(recipe: Recipe, settings: CostSettings, shape: tuple[int, int]) -> dict[str, Any]:
    flops = ("flops_g", "flops_g_computed", "flops_input", "flops_by_part", "flops_outside", "uncounted")
    counted: dict[str, Any] = dict.fromkeys(("params_m", "params_by_part", *flops))
    if not {"params", "flops"} & set(settings.only):
        return counted
    model = build_for_counting(recipe.config.model)
    if "params" in settings.only:
        counted |= {"params_m": params_m(model), "params_by_part": params_by_part(model)}
    if "flops" in settings.only:
        counts = count_flops(model, shape)
        counted |= {
            **flops_entries(recipe.config.model, model, shape, counts.by_part),
            "flops_outside": counts.outside_totals,
            "uncounted": list(counts.uncounted),
        }
    return counted


def _estimated(recipe: Recipe, settings: CostSettings) -> dict[str, Any]:
    width, height = settings.shape or largest_training_batch(recipe.description)
    step = TrainingStep(images=settings.training_batch, size=(width, height), amp=settings.amp)
    optimizer = recipe.description["optim_wrapper"]["optimizer"]["type"]
    with _explained((width, height), step.images):
        found = estimate(recipe.config.model, recipe.config.default_scope, optimizer, step)
    # Buckets of gradients take the room of the trained parameters once more.
    trained_mb = sum(p.numel() for p in build_for_counting(recipe.config.model).parameters() if p.requires_grad) / 2**18
    return {
        **asdict(found),
        "several_gpus_mb": found.peak_mb + trained_mb,
        "images": step.images,
        "input": [width, height],
        "amp": step.amp,
        "optimizer": optimizer,
    }


def _not_measured() -> dict[str, Any]:
    conditions = ("device", "device_type", "dtype", "threads", "clock_mhz", "memory_format", "merged", "compiled")
    training = ("train_peak_memory_mb", "train_batch_size", "train_memory_note")
    return dict.fromkeys(("fps", "latency_ms", "peak_memory_mb", *training, "process_peak_memory_mb", *conditions))


def _on_device(recipe: Recipe, settings: CostSettings, shape: tuple[int, int]) -> dict[str, Any]:
    measured = _not_measured()
    if not {"latency", "memory"} & set(settings.only):
        return measured
    device = chosen_device(settings.device)
    with _explained(shape, settings.test_batch, settings):
        model = _model(recipe, settings, device)
        measured["merged"] = merge_backbone(model, settings.merge)
        if settings.compile:
            measured["compiled"] = compile_parts(model)
        runs = _Runs(recipe, model, settings, shape, device)
        if "latency" in settings.only:
            measured["latency_ms"] = runs.latency()
            measured["fps"] = 1000 / measured["latency_ms"]["median"] * settings.test_batch
        measured["clock_mhz"] = clock_mhz(device)
        if "memory" in settings.only:
            held = itertools.chain(model.parameters(), model.buffers(), runs.inputs)
            measured["peak_memory_mb"] = peak_memory_mb(runs.run, device, held)
    if "memory" in settings.only:
        del runs
        measured |= _training_memory(recipe, settings, device)
        measured["process_peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
    return measured | {
        "device": device_name(device),
        "device_type": device.type,
        "dtype": str(chosen_dtype(settings.amp, device)).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "memory_format": "channels_last" if settings.channels_last else "contiguous",
    }


class _Runs:
    """What is timed: the network or the whole step, end to end, at one scale or all."""

    def __init__(
        self, recipe: Recipe, model: nn.Module, settings: CostSettings, shape: tuple[int, int], device: torch.device
    ) -> None:
        self.recipe, self.model, self.settings, self.shape, self.device = recipe, model, settings, shape, device
        dtype = chosen_dtype(settings.amp, device)
        self.autocast = partial(torch.autocast, device.type, dtype=dtype, enabled=settings.amp)
        self.images = random_images(shape, settings.test_batch, device)
        if is_detection(recipe.identity.method):
            scope = DefaultScope.overwrite_default_scope(recipe.config.default_scope)
            with torch.inference_mode(), self.autocast(), scope:
                step = detection_step(model, self.images)
            self.inputs, self.run = self.images, _under(self.autocast, step)
            self.end_to_end = self.run
        else:
            width, height = shape
            inputs = torch.randn(settings.test_batch, 3, height, width, generator=torch.Generator().manual_seed(0))
            inputs = inputs.to(device=device, memory_format=_memory_format(settings))
            self.inputs, self.run = [inputs], _under(self.autocast, partial(model, inputs, mode="tensor"))
            self.end_to_end = _under(self.autocast, segmentation_step(model, self.images))

    def latency(self) -> dict[str, Any]:
        """The record's `latency_ms`."""
        protocol = self.settings.latency
        found = {
            **latency_entries(measure_latency(self.run, self.device, protocol)),
            "batch_size": self.settings.test_batch,
            "input": list(self.shape),
        }
        if not self.settings.split:
            return found
        short = replace(protocol, max_warmup_runs=2, max_seconds=protocol.max_seconds / 3)
        if self.end_to_end is self.run:
            found["end_to_end"] = {key: found[key] for key in ("median", "p5", "p95", "iqr", "runs")}
        else:
            found["end_to_end"] = latency_entries(measure_latency(self.end_to_end, self.device, short))
        if not self.settings.compile:  # compiled parts are one piece to the clock
            found["parts"] = measure_parts(self.end_to_end, self.model, self.device, runs=10, max_seconds=10.0)
        if self.settings.multi_scale:
            protocol_ms = self.recipe.description["test_ms"]
            method = self.recipe.identity.method
            step, views = multi_scale_step(self.model, method, protocol_ms, self.images)
            # Slow runs: a third of them suffices for a median.
            few = replace(short, max_warmup_runs=1, min_runs=min(3, protocol.min_runs))
            timed = latency_entries(measure_latency(_under(self.autocast, step), self.device, few))
            found["multi_scale"] = {**timed, "views": views}
        return found


def latency_entries(latency: Latency) -> dict[str, Any]:
    """A latency as records have it, in ms."""
    return {
        "median": latency.median_ms,
        "p5": latency.p5_ms,
        "p95": latency.p95_ms,
        "iqr": latency.iqr_ms,
        "runs": latency.runs,
        "warmup_runs": latency.warmup_runs,
        "warmup_stable": latency.is_stable,
    }


def _training_memory(recipe: Recipe, settings: CostSettings, device: torch.device) -> dict[str, Any]:
    """The peak of a training step, or why there is none; refused where the prediction says that it will not fit."""
    images, size = settings.training_batch, largest_training_batch(recipe.description)
    found: dict[str, Any] = {"train_peak_memory_mb": None, "train_batch_size": images, "train_memory_note": None}
    optimizer = recipe.description["optim_wrapper"]["optimizer"]["type"]
    step_settings = TrainingStep(images, size, settings.amp)
    try:
        predicted = estimate(recipe.config.model, recipe.config.default_scope, optimizer, step_settings).peak_mb
    except DensebenchError as error:
        return {**found, "train_memory_note": str(error)}
    room = available_mb(device)
    if room is not None and predicted > room:
        note = f"a step would take about {predicted:.0f} MiB, and {room:.0f} are left"
        return {**found, "train_memory_note": note}
    with building(recipe.config.default_scope):
        model: nn.Module = MODELS.build(recipe.config.model)
    model.train().to(device=device).to(memory_format=_memory_format(settings))
    dtype = chosen_dtype(settings.amp, device)
    autocast = partial(torch.autocast, device.type, dtype=dtype, enabled=settings.amp)
    try:
        step, held = training_step(recipe, model, images, device, autocast)
        found["train_peak_memory_mb"] = training_peak_memory_mb(step, device, held)
    except RuntimeError as error:  # memory may end nonetheless
        found["train_memory_note"] = str(error).strip().splitlines()[0]
    return found


def _memory_format(settings: CostSettings) -> torch.memory_format:
    return torch.channels_last if settings.channels_last else torch.contiguous_format


def _model(recipe: Recipe, settings: CostSettings, device: torch.device) -> nn.Module:
    """The model in test mode with random weights."""
    with building(recipe.config.default_scope):
        model: nn.Module = (
            build_detector(recipe.config.model)
            if is_detection(recipe.identity.method)
            else MODELS.build(recipe.config.model)
        )
    model.eval().to(device=device).to(memory_format=_memory_format(settings))
    return model


def _under(autocast: Callable[[], Any], run: Callable[[], object]) -> Callable[[], object]:
    def run_in_precision() -> object:
        with autocast():
            return run()

    return run_in_precision


def _options(settings: CostSettings | None) -> list[str]:
    """What not every device can do."""
    used = settings or CostSettings()
    return [option for option, is_on in (("--compile", used.compile), ("--amp", used.amp)) if is_on]


@contextmanager
def _explained(shape: tuple[int, int], batch_size: int, settings: CostSettings | None = None) -> Iterator[None]:
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
            f"The model cannot be run on {what}: {error}. Choose another size: --shape W H"
            + "".join(f", or do without {option}" for option in _options(settings))
            + "."
        ) from error

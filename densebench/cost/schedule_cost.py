"""What a whole training will cost, before it starts: its time from a few measured steps, and its memory on a GPU."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from mmengine.registry import MODELS
from torch import nn

from densebench.building import building
from densebench.cost.conditions import available_mb, chosen_dtype, device_name
from densebench.cost.latency import synchronize
from densebench.cost.training_memory.estimate import TrainingStep, estimate, largest_training_batch, padded
from densebench.cost.training_step import training_step
from densebench.data.dataset import split_files
from densebench.errors import DensebenchError
from densebench.recipe import Recipe

STEPS = 3
MAX_SECONDS = 10.0  # of one size
# On a CPU a whole step takes minutes. Two images of about these areas are timed, and a straight line through both
# times leads to the recipe's area: heads on regions cost the same at any size.
CPU_IMAGES = 2
CPU_PIXELS = (128 * 128, 256 * 256)
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")  # beside them, COCO's annotations


@dataclass(frozen=True)
class StepTime:
    """The time of a training step on this device, data aside."""

    seconds: float  # of a step of the recipe's total batch on this one device
    measured_on: str  # images and sizes
    extrapolated: bool


def predicted_memory_line(recipe: Recipe, amp: bool) -> str:
    """What a step with the run's images a process takes on a GPU."""
    size, images = largest_training_batch(recipe.description), recipe.identity.images_per_gpu
    optimizer = recipe.config.optim_wrapper.optimizer.type
    try:
        found = estimate(recipe.config.model, recipe.config.default_scope, optimizer, TrainingStep(images, size, amp))
    except DensebenchError as error:
        return f"Memory: not predicted ({error})"
    return (
        f"Memory of a step on a GPU, predicted: {found.peak_mb / 1024:.1f} GiB ({images} images of "
        f"{size[0]}x{size[1]}, {'mixed precision' if amp else 'float32'}); fewer at once: --images-per-gpu"
    )


def predicted_time_line(recipe: Recipe, amp: bool) -> str:
    """What the schedule takes on this device, from measured steps."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    steps = iterations(recipe)
    found = measured_step(recipe, amp, device)
    if isinstance(found, str):
        return f"Time: not measured ({found})"
    hours = found.seconds * steps / 3600
    how = ", extrapolated" if found.extrapolated else ""
    return (
        f"Time on one {device_name(device)}, predicted: {found.seconds:.3g} s x {steps} iterations = {hours:.3g} h "
        f"(steps of {found.measured_on} measured{how}; loading, validation and further GPUs not counted)"
    )


def iterations(recipe: Recipe) -> int:
    """Steps of the recipe's total batch in its schedule."""
    schedule = recipe.description["schedule"]
    if "iterations" in schedule:
        return int(schedule["iterations"])
    assert recipe.dataset is not None
    files = split_files(recipe.dataset.layout, recipe.dataset.root, "train")
    images = sum(file.suffix.lower() in IMAGE_SUFFIXES for file in files)
    return int(schedule["epochs"]) * max(images // recipe.identity.total_batch, 1)


def measured_step(recipe: Recipe, amp: bool, device: torch.device) -> StepTime | str:
    """The time of a step, or why there is none."""
    size, images = largest_training_batch(recipe.description), recipe.identity.images_per_gpu
    sizes = [size]
    if device.type == "cpu":
        images = min(images, CPU_IMAGES)
        sizes = measured_sizes(size)
    optimizer = recipe.config.optim_wrapper.optimizer.type
    step = TrainingStep(images, sizes[-1], amp)
    try:
        needed = estimate(recipe.config.model, recipe.config.default_scope, optimizer, step)
    except DensebenchError as error:
        return str(error)
    room = available_mb(device)
    if room is not None and needed.peak_mb > room:
        return f"a step would take about {needed.peak_mb:.0f} MiB, and {room:.0f} are left"
    with building(recipe.config.default_scope):
        model: nn.Module = MODELS.build(recipe.config.model)
    model.train().to(device)
    autocast = partial(torch.autocast, device.type, dtype=chosen_dtype(amp, device), enabled=amp)
    times = [
        (math.prod(one), _median_seconds(training_step(recipe, model, images, device, autocast, one)[0], device))
        for one in sizes
    ]
    seconds = on_line(times, math.prod(size)) * recipe.identity.total_batch / images
    what = f"{images} images of {' and '.join(f'{width}x{height}' for width, height in sizes)}"
    return StepTime(seconds, what, extrapolated=sizes[-1] != size)


def measured_sizes(size: tuple[int, int]) -> list[tuple[int, int]]:
    """The sizes that stand for a large one on a CPU, of its shape and CPU_PIXELS; a small one is measured itself."""
    if math.prod(size) <= max(CPU_PIXELS):
        return [size]
    shares = [math.sqrt(pixels / math.prod(size)) for pixels in CPU_PIXELS]
    return [(padded(round(size[0] * share)), padded(round(size[1] * share))) for share in shares]


def on_line(times: Sequence[tuple[int, float]], pixels: int) -> float:
    """Seconds at a number of pixels, on the line through one or two measured (pixels, seconds); at least the last."""
    (last_pixels, last_seconds) = times[-1]
    if last_pixels == pixels:
        return last_seconds
    first_pixels, first_seconds = times[0]
    slope = max((last_seconds - first_seconds) / (last_pixels - first_pixels), 0.0)
    return last_seconds + slope * (pixels - last_pixels)


def _median_seconds(step: Callable[[], object], device: torch.device) -> float:
    step()  # allocations, and the choice of algorithms
    seconds: list[float] = []
    while len(seconds) < STEPS and sum(seconds) < MAX_SECONDS:
        synchronize(device)
        start = time.perf_counter()
        step()
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)

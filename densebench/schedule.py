"""Schedule arithmetic: the recipe's total batch on any number of processes, and the learning rate over iterations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from densebench.errors import DensebenchError


@dataclass(frozen=True)
class BatchPlan:
    """How a recipe's total batch is made up: total = images_per_gpu * world_size * accumulation."""

    total_batch: int
    world_size: int
    images_per_gpu: int
    accumulation: int


def plan_batch(total_batch: int, world_size: int, images_per_gpu: int | None = None) -> BatchPlan:
    """Split the total batch over processes, and over accumulated iterations where `images_per_gpu` asks for it.

    Raises:
        DensebenchError: the total does not divide; the message names the totals that do.
    """
    per_step = world_size * (images_per_gpu or 1)
    if images_per_gpu is not None and images_per_gpu < 1:
        raise DensebenchError(f"--images-per-gpu {images_per_gpu}: at least 1 image per process was expected.")
    if total_batch % per_step:
        below, above = total_batch - total_batch % per_step, total_batch + per_step - total_batch % per_step
        nearest = sorted((below, above), key=lambda total: abs(total - total_batch))
        near = " or ".join(str(total) for total in nearest if total > 0)
        share = f"{world_size} process{'es' if world_size > 1 else ''}"
        share += f" of {images_per_gpu} images" if images_per_gpu else ""
        raise DensebenchError(
            f"The recipe's total batch of {total_batch} does not divide among {share}. Totals that do, nearest "
            f"first: {near}. Change the number of processes or --images-per-gpu, or take another total with "
            f"--cfg-options total_batch=N (the result is then not the published recipe's)."
        )
    per_process = images_per_gpu or total_batch // world_size
    return BatchPlan(total_batch, world_size, per_process, total_batch // (per_process * world_size))


def param_scheduler(schedule: dict[str, Any], accumulation: int = 1) -> list[dict[str, Any]]:
    """mmengine's schedulers for a schedule given in optimizer steps (`iterations`) or in `epochs`.

    The factors of warm-up and decay apply at once, as in the papers' code: at step i the rate is
    base * decay * (1 - (1 - i / warmup) * (1 - ratio)), where decay is (1 - i / iterations) ** power for `poly`, and
    factor ** (moments passed) for `steps`, whose moments `at` are in the unit of the schedule. A warm-up of `kind`
    "constant" keeps base * ratio instead. With accumulation every step takes that many iterations, and the rate moves
    at each of them.
    """
    warmup = schedule["warmup"]
    schedulers = []
    if is_constant(warmup):
        schedulers.append(
            {
                "type": "ConstantLR",
                "factor": warmup["ratio"],
                "by_epoch": False,
                "begin": 0,
                # As LinearLR below: ConstantLR ends one step before its end.
                "end": warmup["iterations"] * accumulation + 1,
            }
        )
    elif warmup["iterations"] > 0:
        schedulers.append(
            {
                "type": "LinearLR",
                "start_factor": warmup["ratio"],
                "by_epoch": False,
                "begin": 0,
                # LinearLR reaches 1 one step before its end; the papers' warm-up reaches it at `iterations`.
                "end": warmup["iterations"] * accumulation + 1,
            }
        )
    schedulers.append(_steps(schedule, accumulation) if "steps" in schedule else _poly(schedule, accumulation))
    return schedulers


def is_constant(warmup: dict[str, Any]) -> bool:
    """Whether the warm-up keeps one rate throughout (`kind` "constant"); else it rises linearly."""
    return warmup.get("kind", "linear") == "constant"


def train_loop(schedule: dict[str, Any], val_interval: int, accumulation: int = 1) -> dict[str, Any]:
    """mmengine's training loop for a schedule; `val_interval` is in the unit of the schedule."""
    if "epochs" in schedule:
        return {"type": "EpochBasedTrainLoop", "max_epochs": schedule["epochs"], "val_interval": val_interval}
    iterations = schedule["iterations"] * accumulation
    interval = min(val_interval * accumulation, iterations)
    return {"type": "IterBasedTrainLoop", "max_iters": iterations, "val_interval": interval}


def describe(schedule: dict[str, Any]) -> str:
    """The schedule in words, for the console."""
    warmup = schedule["warmup"]
    length = f"{schedule['epochs']} epochs" if "epochs" in schedule else f"{schedule['iterations']} steps"
    way = "at" if is_constant(warmup) else "from"
    start = f"{length}, warm-up {warmup['iterations']} {way} ratio {warmup['ratio']:g}"
    if "steps" in schedule:
        moments = ", ".join(map(str, schedule["steps"]["at"]))
        unit = "epoch" if "epochs" in schedule else "step"
        return f"{start}, times {schedule['steps']['factor']:g} at {unit} {moments}"
    poly = schedule["poly"]
    return f"{start}, then power {poly['power']:g} down to {poly['min_lr']:g}"


def _steps(schedule: dict[str, Any], accumulation: int) -> dict[str, Any]:
    by_epoch = "epochs" in schedule
    length = 1 if by_epoch else accumulation
    return {
        "type": "MultiStepLR",
        "gamma": schedule["steps"]["factor"],
        "milestones": [moment * length for moment in schedule["steps"]["at"]],
        "by_epoch": by_epoch,
        "begin": 0,
        "end": schedule["epochs"] if by_epoch else schedule["iterations"] * accumulation,
    }


def _poly(schedule: dict[str, Any], accumulation: int) -> dict[str, Any]:
    return {
        "type": "PolyLR",
        "power": schedule["poly"]["power"],
        "eta_min": schedule["poly"]["min_lr"],
        "by_epoch": False,
        "begin": 0,
        # PolyLR reaches the floor one step before its end; the papers' polynomial reaches it at `iterations`.
        "end": schedule["iterations"] * accumulation + 1,
    }

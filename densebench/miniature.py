"""--mini: the same model, heads and optimizer on small data, small crops and a short schedule."""

from __future__ import annotations

from typing import Any

MINI_CROP = 128
DEFAULT_ITERATIONS = 20
TOTAL_BATCH = 2


def shrink(config: dict[str, Any], sizes: dict[str, Any], iterations: int | None) -> dict[str, Any]:
    """A recipe (not yet resolved) with its task's small `sizes`, a short schedule and a small batch.

    A recipe may hold its own `mini` settings (`iterations`, `total_batch`); `iterations` given here wins.
    """
    settings = config.get("mini", {})
    steps = iterations or settings.get("iterations", DEFAULT_ITERATIONS)
    return {
        **config,
        **sizes,
        "total_batch": settings.get("total_batch", TOTAL_BATCH),
        "schedule": _short_schedule(config["schedule"], steps),
        "val_interval": steps,
        "train_dataloader": {**config["train_dataloader"], "num_workers": 0},
        "test_dataloader": {**config["test_dataloader"], "num_workers": 0},
    }


def scaled(size: Any, factor: float) -> tuple[int, ...]:
    """Lengths in pixels times a factor."""
    return tuple(round(length * factor) for length in size)


def scaled_protocol(protocol: dict[str, Any], factor: float) -> dict[str, Any]:
    """A test protocol with its sizes times a factor."""
    sizes: dict[str, Any] = {
        key: scaled(protocol[key], factor) for key in ("scale", "crop_size", "stride") if key in protocol
    }
    if "scales" in protocol:
        sizes["scales"] = tuple(scaled(size, factor) for size in protocol["scales"])
    return {**protocol, **sizes}


def _short_schedule(schedule: dict[str, Any], steps: int) -> dict[str, Any]:
    """The schedule over `steps` iterations; a schedule in epochs becomes one in iterations."""
    short = {
        **schedule,
        "iterations": steps,
        # A tenth of the steps, whatever the recipe's share is: a short run starts from nothing.
        "warmup": {**schedule["warmup"], "iterations": max(steps // 10, 1)},
    }
    if "steps" in schedule:
        length = schedule.get("epochs") or schedule["iterations"]
        moments = tuple(round(moment * steps / length) for moment in schedule["steps"]["at"])
        short["steps"] = {**schedule["steps"], "at": moments}
    short.pop("epochs", None)
    return short

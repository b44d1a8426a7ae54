"""--mini: the same model, heads and optimizer on small data, small crops and a short schedule."""

from __future__ import annotations

from typing import Any

MINI_CROP = 128
DEFAULT_ITERATIONS = 20
TOTAL_BATCH = 2


def shrink(config: dict[str, Any], iterations: int | None) -> dict[str, Any]:
    """A recipe (not yet resolved) with every size divided alike, so that crops are 128 pixels.

    A recipe may hold its own `mini` settings (`iterations`, `total_batch`); `iterations` given here wins.
    """
    settings = config.get("mini", {})
    steps = iterations or settings.get("iterations", DEFAULT_ITERATIONS)
    factor = MINI_CROP / config["crop_size"][0]
    schedule = config["schedule"]
    return {
        **config,
        "crop_size": _scaled(config["crop_size"], factor),
        "total_batch": settings.get("total_batch", TOTAL_BATCH),
        "schedule": {
            **schedule,
            "iterations": steps,
            # The warm-up keeps its share of the schedule, but for at least a tenth: a short run starts from nothing.
            "warmup": {**schedule["warmup"], "iterations": max(steps // 10, 1)},
        },
        "val_interval": steps,
        "train_scale": _scaled(config["train_scale"], factor),
        "test_ss": _small_protocol(config["test_ss"], factor),
        "test_ms": _small_protocol(config["test_ms"], factor),
        "train_dataloader": {**config["train_dataloader"], "num_workers": 0},
        "test_dataloader": {**config["test_dataloader"], "num_workers": 0},
    }


def _small_protocol(protocol: dict[str, Any], factor: float) -> dict[str, Any]:
    sizes: dict[str, Any] = {
        key: _scaled(protocol[key], factor) for key in ("scale", "crop_size", "stride") if key in protocol
    }
    return {**protocol, **sizes}


def _scaled(size: Any, factor: float) -> tuple[int, ...]:
    return tuple(round(length * factor) for length in size)

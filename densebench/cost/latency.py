"""Latency of a callable: one protocol for every model.

Runs follow one another without a pause. The warm-up ends when it is stable: when the median time of the last
`window` runs lies within `tolerance` of the median of the `window` runs before them. Then runs are timed one by one,
each from a synchronized device to a synchronized device.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class LatencyProtocol:
    """How long to warm up and to measure; a limit in seconds ends a phase after the run that passes it."""

    window: int = 3  # the median of three is not moved by one outlier
    tolerance: float = 0.05  # about the noise of medians on an otherwise idle machine
    max_warmup_runs: int = 50
    max_warmup_seconds: float = 20.0
    min_runs: int = 5  # the least for quartiles, whatever time they take
    max_runs: int = 100
    max_seconds: float = 30.0


@dataclass(frozen=True)
class Latency:
    """Wall time of a run over all timed runs; percentiles are interpolated linearly."""

    median_ms: float
    p5_ms: float
    p95_ms: float
    iqr_ms: float  # third less first quartile
    runs: int
    warmup_runs: int
    is_stable: bool  # False where a limit ended the warm-up


def measure_latency(
    run: Callable[[], object],
    device: torch.device,
    protocol: LatencyProtocol | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Latency:
    """Warm up, then time `run` in inference mode; `clock` gives seconds."""
    protocol = protocol or LatencyProtocol()

    def timed() -> float:
        synchronize(device)
        start = clock()
        run()
        synchronize(device)
        return clock() - start

    with torch.inference_mode():
        warmup: list[float] = []
        while not is_stable(warmup, protocol) and (
            not warmup or (len(warmup) < protocol.max_warmup_runs and sum(warmup) < protocol.max_warmup_seconds)
        ):
            warmup.append(timed())
        seconds: list[float] = []
        while len(seconds) < protocol.min_runs or (
            len(seconds) < protocol.max_runs and sum(seconds) < protocol.max_seconds
        ):
            seconds.append(timed())

    p5, p25, median, p75, p95 = (1000 * float(value) for value in np.percentile(seconds, (5, 25, 50, 75, 95)))
    return Latency(median, p5, p95, p75 - p25, len(seconds), len(warmup), is_stable(warmup, protocol))


def is_stable(seconds: Sequence[float], protocol: LatencyProtocol) -> bool:
    """Whether the last two windows of runs took the same time, within the protocol's tolerance."""
    window = protocol.window
    if len(seconds) < 2 * window:
        return False
    before = statistics.median(seconds[-2 * window : -window])
    last = statistics.median(seconds[-window:])
    return abs(last - before) <= protocol.tolerance * before


def synchronize(device: torch.device) -> None:
    """Wait for what was queued on a CUDA device; the CPU has no queue."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)

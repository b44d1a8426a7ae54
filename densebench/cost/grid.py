"""Latency over number formats, memory layouts and compilation."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from densebench.cost.conditions import chosen_device, chosen_dtype
from densebench.cost.latency import LatencyProtocol
from densebench.cost.measure import CostSettings, measure
from densebench.errors import DensebenchError
from densebench.recipe import Recipe

# Compiling takes a minute or two each on a CPU: what has not begun by then is left out, and the table says so.
MAX_SECONDS = 600.0
PROTOCOL = LatencyProtocol(max_warmup_seconds=10.0, max_seconds=10.0)


def measure_grid(
    recipe: Recipe,
    settings: CostSettings,
    max_seconds: float = MAX_SECONDS,
    clock: Callable[[], float] = time.perf_counter,
) -> list[dict[str, Any]]:
    """One row for each of dtype x layout x compiled, the uncompiled first; `note` says why a row has no latency."""
    device = chosen_device(settings.device)
    began = clock()
    rows = []
    for compiled, amp, channels_last in itertools.product((False, True), repeat=3):
        row: dict[str, Any] = {
            "dtype": str(chosen_dtype(amp, device)).removeprefix("torch."),
            "memory_format": "channels_last" if channels_last else "contiguous",
            "compile": compiled,
            "latency_ms": None,
            "fps": None,
            "note": None,
        }
        rows.append(row)
        if clock() - began > max_seconds:
            row["note"] = f"not begun after {max_seconds:.0f} s"
            continue
        one = replace(
            settings, only=("latency",), amp=amp, channels_last=channels_last, compile=compiled, latency=PROTOCOL,
            multi_scale=False, estimate=False, split=False,
        )  # fmt: skip
        try:
            cost = measure(recipe, one)
            row |= {"latency_ms": cost["latency_ms"], "fps": cost["fps"]}
        except Exception as error:
            # A compiler may fail with anything, and the other rows are worth having.
            if not compiled and not isinstance(error, DensebenchError):
                raise
            row["note"] = shortened(str(error.__cause__ or error))
        finally:
            if compiled:
                torch.compiler.reset()
    return rows


def shortened(reason: str, length: int = 120) -> str:
    """A reason in one line: compilers tell theirs in pages, of which the first lines name the kind of failure."""
    line = " ".join(reason.split())
    return line if len(line) <= length else line[: length - 3] + "..."

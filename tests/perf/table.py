"""Rows of a table in Markdown that stand two sides beside each other: wall time and processor time of both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

HEADER = (
    "| what | runs | toolbox, wall | CPU | densebench, wall | CPU | ratio, wall | CPU | results |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


@dataclass(frozen=True)
class Spent:
    """What one run took; the processor seconds are those of all threads together."""

    wall_s: float
    cpu_s: float


def timed(run: Callable[[], object]) -> Spent:
    """One run in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def compare(what: str, sides: Sequence[Callable[[], object]], runs: int, result: str = "") -> None:
    """Time the toolbox's side and ours in turn, after one run each to warm up, and print the row."""
    for run in sides:
        run()
    found: list[list[Spent]] = [[], []]
    for _ in range(runs):
        for run, spent in zip(sides, found, strict=True):
            spent.append(timed(run))
    time_row(what, *found, result)


def time_row(what: str, theirs: Sequence[Spent], ours: Sequence[Spent], result: str = "") -> None:
    """Medians of what several runs a side took."""
    (wall, cpu), (our_wall, our_cpu) = (
        (statistics.median(s.wall_s for s in side), statistics.median(s.cpu_s for s in side)) for side in (theirs, ours)
    )
    values = (_shown(wall), _shown(cpu), _shown(our_wall), _shown(our_cpu))
    _print(what, len(ours), *values, f"{wall / our_wall:.2f}", f"{cpu / our_cpu:.2f}", result)


def value_row(what: str, theirs: Sequence[float], ours: Sequence[float], unit: str, result: str = "") -> None:
    """Medians of something else than time, memory for one."""
    first, second = statistics.median(theirs), statistics.median(ours)
    _print(what, len(ours), f"{first:.4g} {unit}", "", f"{second:.4g} {unit}", "", f"{first / second:.2f}", "", result)


def result_row(what: str, runs: int, result: str) -> None:
    """What is no comparison of sizes."""
    _print(what, runs, *[""] * 6, result)


def _shown(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 0.1 else f"{1000 * seconds:.3g} ms"


def _print(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)

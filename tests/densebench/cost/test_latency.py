from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch

from densebench.cost.latency import Latency, LatencyProtocol, is_stable, measure_latency


def measured(durations: Iterable[float], **limits: float) -> Latency:
    """The latency of runs that take these seconds, one after the other, on a clock of our own."""
    now = 0.0
    remaining = iter(durations)

    def run() -> None:
        nonlocal now
        now += next(remaining)

    def clock() -> float:
        return now

    return measure_latency(run, torch.device("cpu"), LatencyProtocol(**limits), clock)  # type: ignore[arg-type]


def test_statistics_are_those_of_the_timed_runs_alone() -> None:
    warmup = [9.0, 5.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0]  # the first windows that agree: 2, 1, 1 and 1, 1, 1
    timed = [run / 1000 for run in range(1, 102)]
    latency = measured([*warmup, *timed], max_warmup_seconds=100.0, max_runs=101)
    assert latency.warmup_runs == len(warmup)
    assert latency.is_stable
    assert latency.runs == 101
    assert latency.median_ms == pytest.approx(51.0)
    assert latency.p5_ms == pytest.approx(6.0)
    assert latency.p95_ms == pytest.approx(96.0)
    assert latency.iqr_ms == pytest.approx(50.0)


def test_steady_runs_need_two_windows_of_warm_up() -> None:
    latency = measured([0.01] * 200)
    assert (latency.warmup_runs, latency.runs) == (6, 100)
    assert latency.iqr_ms == pytest.approx(0.0, abs=1e-9)


def test_a_warm_up_that_never_settles_ends_at_its_limit_of_runs() -> None:
    latency = measured([0.01 * 1.5**run for run in range(30)], max_warmup_runs=8, max_warmup_seconds=1e9, max_runs=6)
    assert latency.warmup_runs == 8
    assert not latency.is_stable


def test_slow_runs_are_bounded_by_time_but_enough_for_quartiles() -> None:
    latency = measured([60.0] * 50)
    assert (latency.warmup_runs, latency.runs) == (1, 5)
    assert not latency.is_stable
    assert measured([7.0] * 50).runs == 5  # five runs are 35 s, past the limit of 30 s


@pytest.mark.parametrize(
    ("seconds", "stable"),
    [
        ([1.0] * 5, False),
        ([1.0] * 6, True),
        ([2.0, 2.0, 2.0, 1.0, 1.0, 1.0], False),
        ([1.0, 1.0, 1.0, 1.04, 1.04, 9.0], True),  # one outlier does not decide
    ],
)
def test_is_stable(seconds: list[float], stable: bool) -> None:
    assert is_stable(seconds, LatencyProtocol()) is stable


def test_runs_are_in_inference_mode() -> None:
    modes: list[bool] = []
    run: Callable[[], None] = lambda: modes.append(torch.is_inference_mode_enabled())  # noqa: E731
    measure_latency(run, torch.device("cpu"), LatencyProtocol(max_runs=5))
    assert modes
    assert all(modes)

"""What the statistics say of the leaderboard's entries: intervals, ranks that chance does not explain, verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from densebench.errors import DensebenchError
from densebench.leaderboard.bootstrap import Interval
from densebench.leaderboard.entries import Entry
from densebench.leaderboard.uncertainty import compare, metric_interval, significant_ranks
from densebench.results.records import Problem

Verdict = Literal["reproduced", "below", "above"]

# column -> kind of the record that it comes from, metric there
METRICS = {
    "miou_ss": ("test-ss", "mIoU"),
    "miou_ms": ("test-ms", "mIoU"),
    "box_ap": ("test-ss", "bbox_AP"),
    "box_ap50": ("test-ss", "bbox_AP50"),
    "box_ap75": ("test-ss", "bbox_AP75"),
    "mask_ap": ("test-ss", "segm_AP"),
    "mask_ap50": ("test-ss", "segm_AP50"),
    "mask_ap75": ("test-ss", "segm_AP75"),
}

# metric -> the same over small, medium and large objects
SIZE_RANGES = {f"{kind}_AP": tuple(f"{kind}_AP{size}" for size in "sml") for kind in ("bbox", "segm")}


@dataclass(frozen=True)
class Standing:
    """Where an entry stands among those tested alike."""

    rank: int  # one more than the number of entries that are better beyond chance
    tied_with: tuple[str, ...]  # experiments that are not told apart from this one


@dataclass(frozen=True)
class Reproduction:
    """A measured figure against the published one, in percent."""

    column: str
    published: float
    gap: float  # measured - published
    verdict: Verdict
    source: str


def with_intervals(entries: Iterable[Entry]) -> tuple[list[Entry], list[Problem]]:
    """The entries with an interval for each accuracy whose per-image parts are there, and the parts that are broken."""
    assessed, problems = [], []
    for entry in entries:
        intervals: dict[str, Interval] = {}
        for column, (kind, metric) in METRICS.items():
            if column not in entry.figures or not entry.tests(kind):
                continue
            try:
                found = metric_interval(entry.tests(kind), metric)
            except ValueError as error:
                problems.append(Problem(str(entry.tests(kind)[0].per_image), str(error)))
                continue
            if found is not None:
                intervals[column] = found
        assessed.append(replace(entry, intervals=intervals))
    return assessed, sorted(set(problems), key=lambda problem: (problem.path, problem.reason))


def standings(entries: Sequence[Entry], column: str) -> dict[str, Standing]:
    """By experiment, the standing of every entry whose figure in `column` has an interval.

    Entries are compared in pairs on the same images; those of other images are not told apart from any.
    """
    kind, metric = METRICS[column]
    rated = [entry for entry in entries if column in entry.intervals]
    is_better: dict[tuple[int, int], bool] = {}
    for i, one in enumerate(rated):
        for j, other in enumerate(rated[:i]):
            try:
                found = compare(one.tests(kind), other.tests(kind), metric, with_parts=False)
            except DensebenchError:  # other images: not comparable
                continue
            assert found is not None  # both have an interval
            is_better[i, j] = found.difference.low > 0
            is_better[j, i] = found.difference.high < 0
    ranks = significant_ranks(len(rated), is_better)
    return {
        str(entry.experiment): Standing(
            rank,
            tuple(
                str(other.experiment)
                for j, other in enumerate(rated)
                if j != i and not is_better.get((i, j)) and not is_better.get((j, i))
            ),
        )
        for i, (entry, rank) in enumerate(zip(rated, ranks, strict=True))
    }


def reproduction(entry: Entry, column: str, published: Sequence[Entry]) -> Reproduction | None:
    """How a measured figure compares with the first published result of the same model; None where there is none.

    The published figure counts as reproduced where the interval over images reaches it, given the digits in print.
    """
    if column not in entry.intervals:
        return None
    quoted = next((other for other in published if column in other.figures and is_same_model(entry, other)), None)
    if quoted is None or quoted.published is None:
        return None
    figure, measured = quoted.figures[column], entry.intervals[column]
    printed = figure.printed or repr(figure.value)
    rounding = 0.5 * 10.0 ** -len(printed.partition(".")[2])
    verdict: Verdict = "reproduced"
    if figure.value - rounding > measured.high:
        verdict = "below"
    elif figure.value + rounding < measured.low:
        verdict = "above"
    return Reproduction(column, figure.value, measured.value - figure.value, verdict, quoted.published.source)


def is_same_model(measured: Entry, published: Entry) -> bool:
    """Whether a published result is for the recipe that was measured; input sizes count where both are known."""
    keys = ("backbone", "method", "dataset", "pretrain", "schedule")
    if any(getattr(measured, key) != getattr(published, key) for key in keys):
        return False
    sizes = {measured.flops_input, published.flops_input} - {None}
    return len(sizes) < 2

"""A row's accuracy by class and by size of the objects, with intervals over images."""

from __future__ import annotations

from dataclasses import dataclass

from densebench.leaderboard.assessment import METRICS, SIZE_RANGES
from densebench.leaderboard.bootstrap import Interval
from densebench.leaderboard.entries import Entry
from densebench.leaderboard.uncertainty import metric_interval, part_intervals

_SIZES = ("small", "medium", "large")
_TITLES = {"miou_ss": "IoU by class, single scale", "miou_ms": "IoU by class, multi-scale"} | {
    f"{kind}_ap": f"AP {kind} by class" for kind in ("box", "mask")
}


@dataclass(frozen=True)
class Breakdown:
    """The parts of one accuracy, best first, in percent."""

    title: str
    parts: tuple[tuple[str, Interval], ...]


def breakdowns(entry: Entry, ranking: str) -> tuple[Breakdown, ...]:
    """By size where objects have one, then by class; of two tests of a segmentor the ranking one where it is known."""
    found = []
    columns = ["box_ap", "mask_ap"]
    if entry.task == "segmentation":
        columns = [name for name in (ranking, "miou_ss", "miou_ms") if name in entry.intervals][:1]
    for column in columns:
        if column not in entry.intervals:
            continue
        kind, metric = METRICS[column]
        sizes = [metric_interval(entry.tests(kind), name) for name in SIZE_RANGES.get(metric, ())]
        by_size = tuple((name, known) for name, known in zip(_SIZES, sizes, strict=False) if known is not None)
        if by_size:
            found.append(Breakdown(f"AP {column.partition('_')[0]} by size of the objects", by_size))
        classes = part_intervals(entry.tests(kind), metric)
        ranked = sorted(classes.items(), key=lambda item: -item[1].value)
        found.append(Breakdown(_TITLES[column], tuple(ranked)))
    return tuple(item for item in found if item.parts)

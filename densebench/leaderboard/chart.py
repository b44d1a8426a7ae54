"""Accuracy against what it costs as scatters with their Pareto front: the geometry of SVGs, without their looks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from densebench.leaderboard.entries import Entry
from densebench.leaderboard.table import Table

WIDTH, HEIGHT = 720, 320
LEFT, RIGHT, TOP, BOTTOM = 32, 12, 28, 40  # margins
_CHARACTER, _LINE = 6.2, 12.0  # of a label, at 11 px


@dataclass(frozen=True)
class Axis:
    """What accuracy may be drawn against."""

    key: str
    title: str
    unit_title: str
    more_is_better: bool = False
    of_device: bool = False  # compares within one device only


AXES = (
    Axis("flops_g", "FLOPs", "FLOPs (G)"),
    Axis("params_m", "Parameters", "Parameters (M)"),
    Axis("fps", "FPS", "FPS", more_is_better=True, of_device=True),
    Axis("peak_memory_mb", "Memory", "Peak memory (MB)", of_device=True),
)


@dataclass(frozen=True)
class Tick:
    """A position on an axis, in pixels, and what stands there."""

    position: float
    text: str


@dataclass(frozen=True)
class Point:
    """One row of the table by its index; `label` is empty for what is not ours, or would stand on another."""

    row: int
    x: float
    y: float
    whisker: tuple[float, float] | None  # the interval's ends
    origin: str
    label: str
    label_x: float
    label_y: float
    anchor: str
    tooltip: str


@dataclass(frozen=True)
class Chart:
    """A scatter of WIDTH x HEIGHT pixels with a logarithmic horizontal axis; `device` is None where it has none."""

    axis: Axis
    device: str | None
    points: tuple[Point, ...]
    front: str  # of the Pareto-optimal points, as an SVG polyline
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    y_title: str


def charts(table: Table) -> tuple[Chart, ...]:
    """One chart for each axis, or axis and device, for which at least two rows are known."""
    found = []
    for axis in AXES:
        devices: Iterable[str | None] = [None]
        if axis.of_device:  # that of our rows first
            ours_first = sorted((row.entry for row in table.rows), key=lambda entry: entry.origin != "measured")
            of_rows = [device for entry in ours_first for device in (entry.device, *entry.costs)]
            devices = dict.fromkeys(device for device in of_rows if device is not None)
        for device in devices:
            entries = [row.entry.on(device) if axis.of_device else row.entry for row in table.rows]
            there = [
                (index, entry)
                for index, entry in enumerate(entries)
                if table.ranking in entry.figures and axis.key in entry.figures
            ]
            if len(there) >= 2:
                found.append(_chart(table, axis, device, there))
    return tuple(found)


def pareto_front(costs: Sequence[float], scores: Sequence[float], more_is_better: bool) -> list[int]:
    """Indices of the points than which none is both cheaper (or as cheap) and better, cheapest first."""
    order = sorted(range(len(costs)), key=lambda i: (-costs[i] if more_is_better else costs[i], -scores[i]))
    front: list[int] = []
    for index in order:
        if not front or scores[index] > scores[front[-1]]:
            front.append(index)
    return front


def label_of(entry: Entry) -> str:
    """The name of a point."""
    return entry.backbone.removeprefix("timm/")


def _chart(table: Table, axis: Axis, device: str | None, rows: Sequence[tuple[int, Entry]]) -> Chart:
    entries = [entry for _, entry in rows]
    costs = [entry.figures[axis.key].value for entry in entries]
    scores = [entry.figures[table.ranking].value for entry in entries]
    intervals = [entry.intervals.get(table.ranking) for entry in entries]
    x_low, x_high = min(costs) / 1.1, max(costs) * 1.1
    lowest = min([*scores, *(item.low for item in intervals if item)])
    highest = max([*scores, *(item.high for item in intervals if item)])
    pad = max(0.08 * (highest - lowest), 0.5)
    y_low, y_high = lowest - pad, highest + pad

    def x(value: float) -> float:
        share = math.log(value / x_low) / math.log(x_high / x_low)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(TOP + (y_high - value) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM), 1)

    places = [(x(cost), y(score)) for cost, score in zip(costs, scores, strict=True)]
    whiskers = [None if known is None else (y(known.low), y(known.high)) for known in intervals]
    labels = _labels([label_of(e) if e.origin == "measured" else "" for e in entries], places, whiskers)
    points = [
        Point(
            index,
            *place,
            whisker=whisker,
            origin=entry.origin,
            label=label[0],
            label_x=label[1],
            label_y=label[2],
            anchor=label[3],
            tooltip=_tooltip(entry, table.ranking, axis),
        )
        for (index, _), place, whisker, entry, label in zip(rows, places, whiskers, entries, labels, strict=True)
    ]
    front = pareto_front(costs, scores, axis.more_is_better)
    return Chart(
        axis=axis,
        device=device,
        points=tuple(sorted(points, key=lambda point: point.origin, reverse=True)),  # ours last, on top
        front=" ".join(f"{places[i][0]},{places[i][1]}" for i in front),
        x_ticks=tuple(Tick(x(value), f"{value:g}") for value in _logarithmic_ticks(x_low, x_high)),
        y_ticks=tuple(Tick(y(value), f"{value:g}") for value in _ticks(y_low, y_high)),
        y_title="mIoU, percent" if table.conditions.task == "segmentation" else "AP box, percent",
    )


def _tooltip(entry: Entry, ranking: str, axis: Axis) -> str:
    known = entry.intervals.get(ranking)
    score = entry.figures[ranking].value
    interval = f" [{known.low:.1f}, {known.high:.1f}]" if known else ""
    parts = (entry.backbone, entry.method, entry.pretrain, entry.origin)
    cost = f"{axis.unit_title} {entry.figures[axis.key].value:.4g}"
    return f"{', '.join(part for part in parts if part)}: {score:.2f}{interval}, {cost}"


def _labels(
    texts: Sequence[str], places: Sequence[tuple[float, float]], whiskers: Sequence[tuple[float, float] | None]
) -> list[tuple[str, float, float, str]]:
    """(text, x, y, anchor) beside each point, on the first side where it hides nothing; empty where there is none."""
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in places]
    # y grows downwards: the low end of an interval is below its high end.
    taken += [(x - 1, ends[1], x + 1, ends[0]) for (x, _), ends in zip(places, whiskers, strict=True) if ends]
    found = []
    for text, (x, y) in zip(texts, places, strict=True):
        width = _CHARACTER * len(text)
        options = (
            (x + 9, y + 4, "start", x + 9),
            (x - 9, y + 4, "end", x - 9 - width),
            (x, y - 10, "middle", x - width / 2),
            (x, y + 18, "middle", x - width / 2),
        )
        choice = ("", x, y, "start")
        for label_x, label_y, anchor, left in options if text else ():
            box = (left, label_y - _LINE + 2, left + width, label_y + 2)
            if left >= 0 and box[2] <= WIDTH and not any(_overlap(box, other) for other in taken):
                choice = (text, round(label_x, 1), round(label_y, 1), anchor)
                taken.append(box)
                break
        found.append(choice)
    return found


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _ticks(low: float, high: float) -> list[float]:
    """At most eight multiples of 1, 2 or 5 times a power of ten."""
    magnitude = 10 ** math.floor(math.log10((high - low) / 7))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= (high - low) / 7)
    return [round(i * step, 10) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _logarithmic_ticks(low: float, high: float) -> list[float]:
    if high / low < 4:
        return _ticks(low, high)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    return [value for d in decades for value in (10.0**d, 2 * 10.0**d, 5 * 10.0**d) if low <= value <= high]

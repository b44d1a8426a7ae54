"""Accuracy against multiply-adds as a scatter: the geometry of an SVG, without its looks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from densebench.leaderboard.entries import Entry
from densebench.leaderboard.table import Table

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 32, 12, 28, 40  # margins


@dataclass(frozen=True)
class Tick:
    """A position on an axis, in pixels, and what stands there."""

    position: float
    text: str


@dataclass(frozen=True)
class Point:
    """One entry; `label` is empty for what is not ours."""

    x: float
    y: float
    origin: str
    label: str
    label_is_left: bool
    tooltip: str


@dataclass(frozen=True)
class Chart:
    """A scatter of WIDTH x HEIGHT pixels; FLOPs are on a logarithmic axis."""

    points: tuple[Point, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    y_title: str


def chart(table: Table) -> Chart | None:
    """The entries with a ranking figure and FLOPs; `None` where fewer than two have both."""
    entries = [row.entry for row in table.rows if table.ranking in row.entry.figures and "flops_g" in row.entry.figures]
    if len(entries) < 2:
        return None
    flops = [entry.figures["flops_g"].value for entry in entries]
    scores = [entry.figures[table.ranking].value for entry in entries]
    x_low, x_high = min(flops) / 1.1, max(flops) * 1.1
    pad = max(0.1 * (max(scores) - min(scores)), 0.5)
    y_low, y_high = min(scores) - pad, max(scores) + pad

    def x(value: float) -> float:
        share = math.log(value / x_low) / math.log(x_high / x_low)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(TOP + (y_high - value) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM), 1)

    placed = sorted(zip(entries, flops, scores, strict=True), key=lambda item: item[0].origin, reverse=True)
    return Chart(
        points=tuple(
            _point(entry, table.ranking, x(cost), y(score)) for entry, cost, score in placed
        ),  # ours last, on top
        x_ticks=tuple(Tick(x(value), f"{value:g}") for value in _logarithmic_ticks(x_low, x_high)),
        y_ticks=tuple(Tick(y(value), f"{value:g}") for value in _ticks(y_low, y_high)),
        y_title="mIoU, percent" if entries[0].task == "segmentation" else "AP box, percent",
    )


def _point(entry: Entry, ranking: str, x: float, y: float) -> Point:
    score, flops = entry.figures[ranking], entry.figures["flops_g"]
    is_ours = entry.origin == "measured"
    tooltip = (
        f"{entry.backbone}, {entry.method}, {entry.pretrain}: {score.value:g} at {flops.value:g} G ({entry.origin})"
    )
    return Point(x, y, entry.origin, entry.backbone if is_ours else "", x > WIDTH * 0.75, tooltip)


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

"""The charts of accuracy against cost as figures for a paper, drawn by matplotlib."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from densebench.leaderboard.chart import Chart, charts, label_of, pareto_front
from densebench.leaderboard.table import Table
from densebench.whole_files import written_whole

_WIDTH, _HEIGHT = 3.4, 2.4  # inches: one column of a paper
_OURS = "#1f5fa8"
_STYLE: dict[str, dict[str, Any]] = {
    "measured": {"c": _OURS, "zorder": 3},
    "published": {"facecolors": "white", "edgecolors": "#676a73"},
}


def write_figures(tables: Sequence[Table], out: Path, suffix: str) -> list[Path]:
    """A PDF or PNG for each chart of each table with results of ours (of all where none has any), in out/figures."""
    folder = out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    ours = [table for table in tables if table.is_measured] or list(tables)
    for number, table in enumerate(ours, start=1):
        for chart in charts(table):
            parts = (f"{number:02d}", table.conditions.dataset, chart.axis.key, chart.device)
            name = "-".join(re.sub(r"[^A-Za-z0-9]+", "_", part).strip("_")[:60] for part in parts if part)
            path = folder / f"{name}.{suffix}"
            with written_whole(path) as temporary:
                figure(table, chart).savefig(temporary, format=suffix, dpi=300, metadata=_undated(suffix))
            paths.append(path)
    return paths


def figure(table: Table, chart: Chart) -> Figure:
    """One chart, a column of a paper wide; text stays text in a PDF."""
    drawing = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
    axes = drawing.subplots()
    entries = [table.rows[point.row].entry for point in chart.points]
    entries = [entry.on(chart.device) if chart.device else entry for entry in entries]
    costs = [entry.figures[chart.axis.key].value for entry in entries]
    scores = [entry.figures[table.ranking].value for entry in entries]
    front = pareto_front(costs, scores, chart.axis.more_is_better)
    axes.plot([costs[i] for i in front], [scores[i] for i in front], "--", color="#999", linewidth=0.8, zorder=1)
    for origin, style in _STYLE.items():
        chosen = [i for i, entry in enumerate(entries) if entry.origin == origin]
        if chosen:
            axes.scatter([costs[i] for i in chosen], [scores[i] for i in chosen], s=16, label=origin, **style)
    for entry, cost, score in zip(entries, costs, scores, strict=True):
        known = entry.intervals.get(table.ranking)
        if known is not None:
            axes.vlines(cost, known.low, known.high, color=_OURS, linewidth=0.8)
        if entry.origin == "measured":
            name = label_of(entry).replace("$", r"\$")
            axes.annotate(name, (cost, score), (4, 3), textcoords="offset points", fontsize=6)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks([float(tick.text) for tick in chart.x_ticks], [tick.text for tick in chart.x_ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel(
        chart.axis.unit_title + (f", {chart.device}".replace("$", r"\$") if chart.device else ""), fontsize=7
    )
    axes.set_ylabel(chart.y_title, fontsize=7)
    axes.tick_params(labelsize=6)
    axes.grid(axis="y", linewidth=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if len({entry.origin for entry in entries}) > 1:
        axes.legend(fontsize=6, frameon=False, loc="lower right")
    return drawing


def _undated(suffix: str) -> dict[str, None]:
    """Equal results make equal files."""
    return {"CreationDate": None} if suffix == "pdf" else {}

"""The leaderboard as one self-contained HTML page: a pure function of tables, problems, a date and pictures."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from densebench.leaderboard import breakdown, chart, provenance
from densebench.leaderboard.assessment import Reproduction
from densebench.leaderboard.costs import OF_DEVICE
from densebench.leaderboard.samples import Samples
from densebench.leaderboard.table import Column, Row, Table
from densebench.results.records import Problem


@dataclass(frozen=True)
class Field:
    """The tables of one task and data set, and those of published results alone, which are folded away."""

    title: str
    measured: tuple[Table, ...]
    quoted: tuple[Table, ...]


def render_page(tables: Sequence[Table], problems: Sequence[Problem], generated: str) -> str:
    """The whole HTML file; `generated` is the date that its header names. All text is escaped.

    The pictures in a row's detail are those that its test left in `overlays` in its work directory.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    entries = [row.entry for table in tables for row in table.rows]
    return environment.from_string(_packaged("page.html")).render(
        styles=Markup(_packaged("page.css")),
        script=Markup(_packaged("page.js")),
        fields=_fields(tables),
        problems=problems,
        generated=generated,
        counts={origin: sum(e.origin == origin for e in entries) for origin in ("measured", "published")},
        size={name: getattr(chart, name) for name in ("WIDTH", "HEIGHT", "LEFT", "RIGHT", "TOP", "BOTTOM")},
        charts=chart.charts,
        note=provenance.note,
        details=provenance.details,
        breakdowns=breakdown.breakdowns,
        samples=Samples().of,
        shared=shared_texts,
        verdict=_verdict,
        best_of_device=_best_of_device,
        of_device=OF_DEVICE,
    )


def shared_texts(table: Table) -> dict[str, str]:
    """Column -> the text that all its rows have in common, which stands once above the table instead."""
    rows = [row for row in table.rows if row.entry.origin != "baseline"]
    found = {}
    for index, column in enumerate(table.columns):
        texts = {row.cells[index].text for row in rows}
        if column.is_text and column.key != "backbone" and len(texts) == 1:
            found[column.key] = f"{column.title}: {texts.pop()}"
    return found


def _packaged(name: str) -> str:
    return resources.files("densebench.leaderboard").joinpath(name).read_text(encoding="utf-8")


def _fields(tables: Sequence[Table]) -> list[Field]:
    fields = []
    for title, group in itertools.groupby(tables, key=lambda table: table.title):
        of_title = list(group)
        quoted = tuple(table for table in of_title if not table.is_measured)
        fields.append(Field(title, tuple(table for table in of_title if table.is_measured), quoted))
    return fields


def _verdict(row: Row, column: Column) -> Reproduction | None:
    return next((item for item in row.reproductions if item.column == column.key), None)


def _best_of_device(table: Table, row: Row, column: Column) -> bool:
    """Whether no measured row of the same device is faster, or takes less memory."""
    if column.key not in OF_DEVICE or row.entry.origin != "measured" or column.key not in row.entry.figures:
        return False
    there = [other.entry.on(row.entry.device) for other in table.rows if other.entry.origin == "measured"]
    values = [other.figures[column.key].value for other in there if column.key in other.figures]
    best = max(values) if column.key == "fps" else min(values)
    return len(values) > 1 and row.entry.figures[column.key].value == best

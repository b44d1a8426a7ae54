"""The leaderboard as one self-contained HTML page: a pure function of tables, problems and a date."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from jinja2 import Environment, StrictUndefined

from densebench.leaderboard import chart, provenance
from densebench.leaderboard.records import Problem
from densebench.leaderboard.table import Table


def render_page(tables: Sequence[Table], problems: Sequence[Problem], generated: str) -> str:
    """The whole HTML file; `generated` is the date that its header names. All text is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = resources.files("densebench.leaderboard").joinpath("page.html").read_text(encoding="utf-8")
    entries = [row.entry for table in tables for row in table.rows]
    return environment.from_string(template).render(
        tables=[(table, chart.chart(table)) for table in tables],
        problems=problems,
        generated=generated,
        counts={origin: sum(e.origin == origin for e in entries) for origin in ("measured", "published")},
        size={name: getattr(chart, name) for name in ("WIDTH", "HEIGHT", "LEFT", "RIGHT", "TOP", "BOTTOM")},
        note=provenance.note,
        details=provenance.details,
    )

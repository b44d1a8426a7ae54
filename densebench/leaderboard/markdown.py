"""The leaderboard as Markdown: a table per question, with numbered notes on where each row comes from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from densebench.leaderboard.provenance import note
from densebench.leaderboard.table import Row, Table
from densebench.results.records import Problem

_LEGEND = (
    "Measured rows come from records of this project, published rows are quoted, the baseline predicts the most "
    "frequent class everywhere. Rows are ranked by mIoU at many scales where it is known, else at a single scale; "
    "for detection by box AP. Bold is the best of a column. A dash is unknown. Parentheses hold "
    "the 95 % interval over test images."
)


def markdown(tables: Iterable[Table], problems: Sequence[Problem] = ()) -> str:
    """GitHub-flavoured Markdown, readable as plain text too: columns are padded to one width."""
    parts = [_table_markdown(table) for table in tables]
    if parts:
        parts.append(_LEGEND)
    if problems:
        lines = [f"- `{_one_line(problem.path)}`: {_escaped(problem.reason)}" for problem in problems]
        parts.append("\n".join(["## Left out", "", *lines]))
    return "\n\n".join(parts) + "\n"


def _table_markdown(table: Table) -> str:
    notes: list[str] = []
    lines = [["", *(column.title for column in table.columns), "Note"]]
    for row in table.rows:
        text = note(row.entry)
        if text not in notes:
            notes.append(text)
        lines.append([row.entry.origin, *_cells(row), f"[{notes.index(text) + 1}]"])
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(lines[0]))]
    is_left = [True, *(column.is_text for column in table.columns), True]
    rule = ["-" * width if left else "-" * (width - 1) + ":" for width, left in zip(widths, is_left, strict=True)]
    padded = [
        [c.ljust(w) if left else c.rjust(w) for c, w, left in zip(line, widths, is_left, strict=True)] for line in lines
    ]
    rows = "\n".join("| " + " | ".join(line) + " |" for line in [padded[0], rule, *padded[1:]])
    numbered = "\n".join(f"{number}. {_escaped(text)}" for number, text in enumerate(notes, start=1))
    apart = f"Apart: {_escaped('; '.join(table.apart))}.\n\n" if table.apart else ""
    return f"## {_escaped(table.title)}\n\n{apart}{_escaped(table.subtitle)}\n\n{rows}\n\n{numbered}"


def _cells(row: Row) -> list[str]:
    return [
        (f"**{cell.text}**" if cell.is_best else _escaped(cell.text))
        + (f" ({cell.interval.low:.1f}-{cell.interval.high:.1f})" if cell.interval else "")
        for cell in row.cells
    ]


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is: no markup, no new cell, no HTML."""
    text = _one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    for character in "\\|`*[]":
        text = text.replace(character, "\\" + character)
    return text


def _one_line(text: str) -> str:
    """Without control characters: neither a new line nor a command to a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)

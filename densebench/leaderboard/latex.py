"""The leaderboard as LaTeX: a booktabs table for each task and data set, laid out as in the papers."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterable, Sequence

from densebench.leaderboard.costs import commonest
from densebench.leaderboard.table import UNKNOWN, Cell, Column, Row, Table

_COLUMNS = {
    "segmentation": ("backbone", "method", "miou_ss", "miou_ms", "params_m", "flops_g", "fps"),
    "detection": (
        *("backbone", "method", "box_ap", "box_ap50", "box_ap75", "mask_ap", "mask_ap50", "mask_ap75"),
        *("params_m", "flops_g", "fps"),
    ),
}
_HEADS = {
    "backbone": "backbone",
    "method": "method",
    "miou_ss": "mIoU$^{ss}$",
    "miou_ms": "mIoU$^{ms}$",
    "box_ap": r"AP$^\mathrm{box}$",
    "box_ap50": r"AP$^\mathrm{box}_{50}$",
    "box_ap75": r"AP$^\mathrm{box}_{75}$",
    "mask_ap": r"AP$^\mathrm{mask}$",
    "mask_ap50": r"AP$^\mathrm{mask}_{50}$",
    "mask_ap75": r"AP$^\mathrm{mask}_{75}$",
    "params_m": "params (M)",
    "flops_g": "FLOPs (G)",
    "fps": "FPS",
}
_SPECIAL = {
    **{character: "\\" + character for character in "#$%&_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "\N{EN DASH}": "--",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{MINUS SIGN}": "$-$",
}


def latex(tables: Iterable[Table], with_intervals: bool = False) -> str:
    """One `table*` for each title; the tables below it are its groups, each under the conditions that it holds for.

    The best accuracy of a group is bold, published rows are marked, our FPS are of one device; needs
    \\usepackage{booktabs}.
    """
    parts = [
        _environment(title, list(group), with_intervals)
        for title, group in itertools.groupby(tables, key=lambda table: table.title)
    ]
    return "% needs \\usepackage{booktabs}\n" + "\n".join(parts)


def _environment(title: str, tables: Sequence[Table], with_intervals: bool) -> str:
    there = {column.key for table in tables for column in table.columns}
    keys = [key for key in _COLUMNS[tables[0].conditions.task] if key in there]
    layout = "l" * sum(key in ("backbone", "method") for key in keys)
    layout += "r" * (len(keys) - len(layout))
    lines = [
        r"\begin{table*}",
        r"\centering",
        rf"\begin{{tabular}}{{{layout}}}",
        r"\toprule",
        _line(_HEADS[key] for key in keys),
    ]
    device = _device(tables)
    for table in tables:
        lines.append(r"\midrule")
        if len(tables) > 1:
            lines.append(rf"\multicolumn{{{len(keys)}}}{{l}}{{\emph{{{_escaped(_heading(table))}}}}} \\")
        lines += [_row(row, table.columns, keys, with_intervals, device) for row in table.rows]
    caption = f"{_escaped(title)}. {_legend(tables, with_intervals)}"
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", rf"\caption{{{caption}}}", r"\end{table*}", ""])


def _row(row: Row, columns: Sequence[Column], keys: Sequence[str], with_intervals: bool, device: str | None) -> str:
    cells = {column.key: cell for column, cell in zip(columns, row.cells, strict=True)}
    if row.entry.origin == "measured" and row.entry.device != device:
        cells.pop("fps", None)
    texts = [_cell(cells.get(key, Cell(UNKNOWN)), with_intervals) for key in keys]
    if row.entry.origin == "published":
        texts[0] += r"$^\dagger$"
    return _line(texts)


def _cell(cell: Cell, with_intervals: bool) -> str:
    text = _escaped(cell.text)
    if cell.is_best:
        text = rf"\textbf{{{text}}}"
    if with_intervals and cell.interval is not None:
        text += rf" {{\scriptsize [{cell.interval.low:.1f}, {cell.interval.high:.1f}]}}"
    return text


def _line(texts: Iterable[str]) -> str:
    return " & ".join(texts) + r" \\"


def _heading(table: Table) -> str:
    return table.conditions.described() or table.subtitle


def _device(tables: Sequence[Table]) -> str | None:
    """The one that our FPS in the table are of: they compare within one device only."""
    rows = [row.entry for table in tables for row in table.rows if row.entry.origin == "measured"]
    return commonest([row.device] for row in rows if row.device is not None and "fps" in row.figures)


def _legend(tables: Sequence[Table], with_intervals: bool) -> str:
    rows = [row for table in tables for row in table.rows]
    parts = ["Bold: best of its group."]
    if any(row.entry.origin == "published" for row in rows):
        parts.append(r"$^\dagger$published, not measured here.")
    device = _device(tables)
    if device is not None:
        parts.append(f"FPS of ours: {_escaped(device)}.")
    if with_intervals and any(cell.interval for row in rows for cell in row.cells):
        parts.append(r"Brackets: 95\,\% interval over test images.")
    return " ".join(parts)


def _escaped(text: str) -> str:
    """Text that TeX prints as it is; what is no printable character is left out."""
    plain = "".join(" " if unicodedata.category(character).startswith("C") else character for character in text)
    return "".join(_SPECIAL.get(character, character) for character in plain)

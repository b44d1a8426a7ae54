"""From work directories to the files of the leaderboard."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from densebench.errors import DensebenchError
from densebench.leaderboard.csv_table import csv_text
from densebench.leaderboard.latex import latex
from densebench.leaderboard.markdown import markdown
from densebench.leaderboard.page import render_page
from densebench.leaderboard.table import build_tables
from densebench.results.published import published_results
from densebench.results.records import Problem, Record, read_records
from densebench.whole_files import written_whole

# Per-image parts of more than this are those of many detections.
LONG_BYTES = 10_000_000

FILE_NAMES = {"html": "index.html", "md": "leaderboard.md", "csv": "leaderboard.csv", "latex": "leaderboard.tex"}
FIGURE_FORMATS = ("pdf", "png")


@dataclass(frozen=True)
class Written:
    """What was written, and what to tell about it."""

    paths: tuple[Path, ...]
    summary: str  # the Markdown of the tables that hold our own results; of all where none does
    problems: tuple[Problem, ...]


def write_leaderboard(
    work_dirs: Sequence[Path], out: Path, formats: Sequence[str], *, with_published: bool, generated: str
) -> Written:
    """Writes the leaderboard of all records below `work_dirs` into `out`, in formats of FILE_NAMES and FIGURE_FORMATS.

    Raises DensebenchError where there is nothing to show, or `out` cannot be written.
    """
    records, problems = read_records(work_dirs)
    if not records and not with_published:
        raise DensebenchError(_nothing_found(work_dirs, problems))
    _announce_long(records)
    leaderboard = build_tables(records, published_results() if with_published else ())
    tables, problems = leaderboard.tables, [*problems, *leaderboard.problems]
    texts = {
        "html": lambda: render_page(tables, problems, generated),
        "md": lambda: markdown(tables, problems),
        "csv": lambda: csv_text(tables),
        "latex": lambda: latex(tables, with_intervals=True),
    }
    paths = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in formats:
            if name in FIGURE_FORMATS:
                from densebench.leaderboard.figures import write_figures  # matplotlib takes a second to import

                paths += write_figures(tables, out, name)
                continue
            paths.append(out / FILE_NAMES[name])
            with written_whole(paths[-1]) as temporary:
                temporary.write_bytes(texts[name]().encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise DensebenchError(f"The leaderboard cannot be written to {out}: {error.strerror}.") from error
    ours = [table for table in tables if table.is_measured]
    return Written(tuple(paths), markdown(ours or tables, problems), tuple(problems))


def _announce_long(records: Sequence[Record]) -> None:
    """Say what takes so long, where it does: COCO's resamples take seconds to a minute a record."""
    sizes = [record.per_image.stat().st_size for record in records if record.per_image is not None]
    if sum(sizes) > LONG_BYTES:
        print(f"Resampling the test images of {len(sizes)} records for their intervals ...", file=sys.stderr)


def _nothing_found(work_dirs: Sequence[Path], problems: Sequence[Problem]) -> str:
    lines = [
        "There is nothing to show: expected records (records/*.json) below "
        + ", ".join(map(str, work_dirs))
        + ", found "
        + (f"none that is valid, {len(problems)} left out:" if problems else "none."),
        *(f"  {problem.path}: {problem.reason}" for problem in problems),
        "tools/test.py and tools/benchmark.py write records; --published shows the published results alone.",
    ]
    return "\n".join(lines)

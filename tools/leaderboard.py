"""The leaderboard: tables of all records below the work directories, as a page, Markdown, CSV, LaTeX and figures.

Reads `<work dir>/**/records/*.json` and, with --published, the published results that come with densebench.
Writes index.html, leaderboard.md, .csv and .tex into the folder --out, with --format pdf or png also figures/*,
and prints the Markdown tables.
"""

from __future__ import annotations

import argparse
from datetime import datetime, timezone
from pathlib import Path

from densebench.cli import run

DEFAULT_FORMATS = ("html", "md", "csv", "latex")
FORMATS = (*DEFAULT_FORMATS, "pdf", "png")


def build_parser() -> argparse.ArgumentParser:
    """The command line, as the contract has it."""
    parser = argparse.ArgumentParser(
        prog="tools/leaderboard.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "work_dirs",
        metavar="WORK_DIR",
        nargs="*",
        type=Path,
        default=[Path("work_dirs")],
        help="folders to search for records, however deep they lie (default: work_dirs)",
    )
    parser.add_argument("--published", action="store_true", help="show published results beside the measured ones")
    add = parser.add_argument
    add("--compare", metavar=("A", "B"), nargs=2, help="print what sets two experiments apart, and write nothing")
    out = Path("work_dirs/leaderboard")
    add("--out", metavar="D", type=Path, default=out, help="folder of the files to write (default: %(default)s)")
    parser.add_argument(
        "--format",
        metavar="F,...",
        type=parsed_formats,
        default=DEFAULT_FORMATS,
        help=f"what to write, of {','.join(FORMATS)}; pdf and png are charts for a paper "
        f"(default: {','.join(DEFAULT_FORMATS)})",
    )
    return parser


def parsed_formats(text: str) -> tuple[str, ...]:
    """The formats named in `html,md`; a name that is none is a usage error."""
    names = tuple(name.strip() for name in text.split(","))
    if unknown := [name for name in names if name not in FORMATS]:
        raise argparse.ArgumentTypeError(f"unknown format {unknown[0]!r}, expected some of {','.join(FORMATS)}")
    return names


def main(arguments: argparse.Namespace) -> None:
    """Writes the files and prints the tables; reads work_dirs, published, compare, out and format."""
    if arguments.compare:
        from densebench.leaderboard.comparison import comparison_text

        print(comparison_text(arguments.work_dirs, *arguments.compare))
        return
    from densebench.leaderboard.write import write_leaderboard

    written = write_leaderboard(
        arguments.work_dirs,
        arguments.out,
        arguments.format,
        with_published=arguments.published,
        generated=f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M UTC}",
    )
    print(written.summary)
    for path in written.paths:
        print(f"Wrote {path}")


if __name__ == "__main__":
    run(build_parser(), main)

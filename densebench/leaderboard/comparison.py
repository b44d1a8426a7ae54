"""Two experiments compared on the same images, as text for the console."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from densebench.errors import DensebenchError
from densebench.leaderboard.assessment import METRICS, SIZE_RANGES
from densebench.leaderboard.bootstrap import CONFIDENCE_PERCENT, NUM_RESAMPLES, Difference
from densebench.leaderboard.comparable import conditions_of
from densebench.leaderboard.entries import Entry, measured_entries
from densebench.leaderboard.uncertainty import Comparison, PartDifference, compare
from densebench.results.records import read_records

_MOST_PARTS = 10
_TITLES = {"test-ss": "single-scale", "test-ms": "multi-scale"}


def comparison_text(work_dirs: Sequence[Path], first: str, second: str) -> str:
    """What sets two experiments apart: for each metric that both have, the paired difference and its main parts.

    Raises:
        DensebenchError: there is no such experiment, or the two have no test on the same images in common.
    """
    records, _ = read_records(work_dirs)
    entries = {_name(entry): entry for entry in measured_entries(records)}
    one, other = (_named(name, entries) for name in (first, second))
    sections = []
    try:
        for kind in _TITLES:
            for test_kind, metric in dict.fromkeys(METRICS.values()):
                if test_kind != kind:
                    continue
                found = compare(one.tests(kind), other.tests(kind), metric)
                if found is not None:
                    ranges = [compare(one.tests(kind), other.tests(kind), name) for name in SIZE_RANGES.get(metric, ())]
                    sections.append(_section(_TITLES[kind], found, [item for item in ranges if item is not None]))
    except ValueError as error:
        raise DensebenchError(f"The two cannot be compared: {error}. Test them again.") from error
    if not sections:
        raise DensebenchError(
            f"{first} and {second} have no test in common whose record holds per-image parts. Run tools/test.py for "
            "both, with or without --aug-test alike."
        )
    conflicts = conditions_of(one).conflicts(conditions_of(other))
    warning = [f"They were not trained and tested alike: {'; '.join(conflicts)}."] if conflicts else []
    head = (
        f"{first} less {second}, percentage points; {CONFIDENCE_PERCENT:g} % intervals of {NUM_RESAMPLES} resamples of "
        "the test images, both models on the same ones"
    )
    return "\n".join([head, *warning, "", *sections])


def _name(entry: Entry) -> str:
    """The experiment; where it was tested with --amp, with the precision of that: "upernet_convnext_t (bfloat16)"."""
    is_full = entry.precision in (None, "float32")
    return str(entry.experiment) if is_full else f"{entry.experiment} ({entry.precision})"


def _named(name: str, entries: dict[str, Entry]) -> Entry:
    if name in entries:
        return entries[name]
    near = difflib.get_close_matches(name, entries, n=5, cutoff=0.4) or sorted(entries)
    raise DensebenchError(
        f"No measured experiment '{name}'" + (f"; there are: {', '.join(near)}." if near else "; there is none yet.")
    )


def _section(title: str, found: Comparison, ranges: list[Comparison]) -> str:
    lines = [
        f"{found.metric}, {title}: {found.first.value:.2f} [{found.first.low:.2f}, {found.first.high:.2f}] and "
        f"{found.second.value:.2f} [{found.second.low:.2f}, {found.second.high:.2f}]",
        f"  {_difference_text(found.difference)}: "
        + ("the difference is real" if found.difference.is_real else "tied: chance explains the difference"),
    ]
    parts = [part for part in found.parts if part.difference.is_real][:_MOST_PARTS]
    if parts:
        lines.append("  classes that make it, largest first:")
        lines += _part_lines(parts)
    if ranges:
        lines.append("  by size of the objects:")
        lines += _part_lines([PartDifference(item.metric, item.difference) for item in ranges])
    return "\n".join(lines) + "\n"


def _part_lines(parts: Sequence[PartDifference]) -> list[str]:
    width = max(len(part.name) for part in parts)
    return [f"    {part.name:<{width}}  {_difference_text(part.difference)}" for part in parts]


def _difference_text(found: Difference) -> str:
    return f"{found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}], p = {found.p_value:.3f}"

"""The leaderboard as CSV: one line per row of every table, unrounded, empty where a value is unknown."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from densebench.leaderboard.entries import Entry
from densebench.leaderboard.table import Row, Table

_IDENTITY = ("origin", "task", "dataset", "mini", "backbone", "method", "pretrain", "schedule")
_FIGURES = (
    *("miou_ss", "miou_ms", "box_ap", "box_ap50", "box_ap75", "mask_ap", "mask_ap50", "mask_ap75"),
    *("params_m", "flops_g", "fps", "latency_ms", "peak_memory_mb", "train_mem_gb"),
)
_ACCURACIES = tuple(name for name in _FIGURES if name.startswith(("miou", "box", "mask")))
# The 95 % interval over images, and the standard deviation over seeds.
_UNCERTAINTY = (
    *(f"{name}_{end}" for name in _ACCURACIES for end in ("low", "high", "seed_sd")),
    *("rank", "tied_with", "verdicts"),
)
_RUN = ("device", "experiment", "seeds", "checkpoint_sha256", "git_commit", "dataset_fingerprint", "num_images")


def csv_text(tables: Iterable[Table]) -> str:
    """The columns are the same whatever the tables hold; published figures keep the digits of their source."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        [
            "table",
            *_IDENTITY,
            *_FIGURES,
            "flops_input",
            *_RUN,
            "date",
            "older_records",
            "source",
            *_UNCERTAINTY,
            "other_devices",
        ]
    )
    for table in tables:
        for row in table.rows:
            writer.writerow([table.title, *_values(row.entry), *_uncertainty(row), _other_devices(row.entry)])
    return buffer.getvalue()


def _values(entry: Entry) -> list[object]:
    return [
        *(getattr(entry, key) for key in _IDENTITY),
        *(_figure(entry, name) for name in _FIGURES),
        "x".join(map(str, entry.flops_input)) if entry.flops_input else None,
        *(_run(entry, key) for key in _RUN),
        entry.date.isoformat() if entry.date else None,
        entry.older_records,
        entry.published.source if entry.published else None,
    ]


def _uncertainty(row: Row) -> list[object]:
    values: list[object] = []
    for name in _ACCURACIES:
        known, spread = row.entry.intervals.get(name), row.entry.spreads.get(name)
        values += [known.low, known.high] if known else [None, None]
        values.append(spread.standard_deviation if spread else None)
    standing = row.standing
    verdicts = " ".join(f"{item.column}:{item.verdict}:{item.gap:+.2f}" for item in row.reproductions)
    return [*values, standing.rank if standing else None, " ".join(standing.tied_with) if standing else None, verdicts]


def _other_devices(entry: Entry) -> str | None:
    """FPS, latency and memory where the row's device is not the only one: `device: fps=3.2 latency_ms=312; ...`."""
    parts = [
        f"{device}: " + " ".join(f"{name}={figure.value}" for name, figure in values.items())
        for device, values in entry.costs.items()
        if device != entry.device
    ]
    return "; ".join(parts) or None


def _run(entry: Entry, key: str) -> object:
    value = getattr(entry, key)
    return " ".join("" if seed is None else str(seed) for seed in value) if key == "seeds" else value


def _figure(entry: Entry, name: str) -> object:
    figure = entry.figures.get(name)
    if figure is None:
        return None
    return figure.value if figure.printed is None else figure.printed

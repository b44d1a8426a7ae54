"""What stands behind a row: one line for every reader, and the details for who wants to check."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from densebench.leaderboard.entries import Entry
from densebench.leaderboard.table import UNKNOWN
from densebench.results.published import PublishedResult
from densebench.results.records import Record

_LABELS = {
    "params_m": "parameters (M)",
    "flops_g": "FLOPs (G)",
    "flops_input": "FLOPs at input",
    "fps": "FPS",
    "latency_ms": "latency (ms)",
    "peak_memory_mb": "peak memory (MB)",
    "train_peak_memory_mb": "training peak memory (MB)",
    "weights_matched_percent": "weights matched (%)",
}
_KIND_TITLES = {"test-ss": "Single-scale test", "test-ms": "Multi-scale test", "benchmark": "Cost benchmark"}


@dataclass(frozen=True)
class Section:
    """Labelled values under one heading."""

    title: str
    items: tuple[tuple[str, str], ...]


def note(entry: Entry) -> str:
    """One line: where the row comes from, and for a measured row which run it is."""
    if entry.published is not None:
        return f"published: {entry.published.source}"
    if entry.origin == "baseline":
        return "baseline: predicts the most frequent class of the test labels for every pixel"
    older = f"{entry.older_records} older record{'' if entry.older_records == 1 else 's'}"
    parts = [
        f"measured: {entry.experiment}",
        f"{entry.date:%Y-%m-%d}" if entry.date else None,
        _seeds(entry),
        f"checkpoint {(entry.checkpoint_sha256 or UNKNOWN)[:8]}" if len(entry.seeds) < 2 else None,
        f"commit {_commit(entry)}",
        older if entry.older_records else None,
    ]
    return ", ".join(part for part in parts if part)


def details(entry: Entry) -> tuple[Section, ...]:
    """All that is known of a row: its costs by device, a section per record, or the notes of a published table."""
    if entry.published is not None:
        return (_published_section(entry.published),)
    devices = (Section("Cost by device", _items(costs_by_device(entry))),) if len(entry.costs) > 1 else ()
    return (*devices, *(_record_section(record) for record in entry.records))


def costs_by_device(entry: Entry) -> dict[str, str]:
    """FPS, latency and memory in one line, for each device and setting."""
    return {
        device: ", ".join(f"{_LABELS[name]} {_text(figure.value)}" for name, figure in values.items())
        for device, values in entry.costs.items()
    }


def _seeds(entry: Entry) -> str:
    seeds = [UNKNOWN if seed is None else str(seed) for seed in entry.seeds] or [UNKNOWN]
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"mean of seeds {', '.join(seeds)}"


def _commit(entry: Entry) -> str:
    is_dirty = any(record.provenance.get("git_dirty") for record in entry.records)
    return (entry.git_commit or UNKNOWN)[:8] + (" with uncommitted changes" if is_dirty else "")


def _published_section(result: PublishedResult) -> Section:
    values = {
        "source": result.source,
        "notes": result.notes,
        "name there": f"{result.family} {result.variant}",
        "crop or scale": result.crop_or_scale,
        "hardware of the FPS": result.fps_hardware,
        "training memory": f"{result.printed['train_mem_gb']} GB" if "train_mem_gb" in result.printed else None,
    }
    return Section("Published result", _items(values))


def _record_section(record: Record) -> Section:
    command = record.provenance.get("command")
    values = {
        "date": f"{record.date:%Y-%m-%d %H:%M:%S %Z}",
        "command": shlex.join(map(str, command)) if isinstance(command, list) else command,
        "total batch": record.total_batch,
        "images per GPU": record.images_per_gpu,
        **{f"protocol: {key}": value for key, value in record.protocol.items()},
        **{key: value for key, value in record.metrics.items() if value is not None},
        **{key: value for key, value in record.cost.items() if value is not None},
        **{key: value for key, value in record.provenance.items() if key not in ("date", "command", "versions")},
        "versions": record.provenance.get("versions"),
        "per-image parts": None if record.per_image is None else str(record.per_image),
        "record": str(record.path),
    }
    return Section(_KIND_TITLES[record.kind], _items(values))


def _items(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((_LABELS.get(label, label.replace("_", " ")), _text(value)) for label, value in values.items())


def _text(value: Any) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list):
        return f"{len(value)} values" if len(value) > 12 else json.dumps(value, ensure_ascii=False)
    return f"{value:.6g}" if isinstance(value, float) else str(value)

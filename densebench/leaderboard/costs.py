"""What an experiment costs, from all its benchmarks: every value from the newest record that has it, by device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from densebench.results.records import Record

# Columns whose values compare on one device, under one setting, only.
OF_DEVICE = ("fps", "latency_ms", "peak_memory_mb")
_OF_MODEL = ("params_m", "flops_g")


@dataclass(frozen=True)
class Costs:
    """The costs of one model; `by_device` has those of a benchmark's device and setting, the newest first."""

    of_model: Mapping[str, float]  # parameters and FLOPs; absent where unknown
    flops_input: tuple[int, int] | None  # width, height
    by_device: Mapping[str, Mapping[str, float]]
    records: tuple[Record, ...]  # the benchmarks that any value comes from, newest first


def merged_costs(benchmarks: Sequence[Record], tests: Sequence[Record]) -> Costs:
    """Each value from the newest benchmark that has it; parameters and FLOPs, which are the model's, else from a test.

    Speed and memory come from benchmarks alone: a test run's include the loading of its data.
    """
    newest_first = sorted(benchmarks, key=lambda record: (record.date, str(record.path)), reverse=True)
    sources: dict[str, Record] = {}
    of_model: dict[str, float] = {}
    for record in (*newest_first, *tests):
        for name in _OF_MODEL:
            if name not in of_model and record.cost.get(name) is not None:
                of_model[name], sources[name] = record.cost[name], record
    size = sources["flops_g"].cost.get("flops_input") if "flops_g" in sources else None
    flops_input = None if size is None else (size[0], size[1])
    by_device: dict[str, dict[str, float]] = {}
    for record in newest_first:
        device = device_label(record, flops_input)
        for name, value in _values(record):
            if name not in by_device.setdefault(device, {}):
                by_device[device][name], sources[f"{name} on {device}"] = value, record
    used = {id(record) for record in sources.values()}
    return Costs(of_model, flops_input, by_device, tuple(record for record in newest_first if id(record) in used))


def device_label(record: Record, usual_input: tuple[int, int] | None) -> str:
    """A benchmark's device, and what else sets its speed and memory apart: all but the defaults is named."""
    cost, protocol = record.cost, record.protocol
    device, size, batch = cost.get("device"), protocol.get("input"), protocol.get("batch_size")
    parts: list[str | None] = [
        device or "unknown device",
        _threads(cost),
        cost["dtype"] if cost.get("dtype") not in (None, "float32") else None,
        "channels last" if cost.get("memory_format") == "channels_last" else None,
        "compiled" if cost.get("compiled") else None,
        "not merged" if cost.get("merged") is False else None,
        f"batch {batch}" if batch not in (None, 1) else None,
        _size(size) if usual_input is not None and size and tuple(size) != usual_input else None,
    ]
    return ", ".join(part for part in parts if part)


def commonest(of_rows: Iterable[Iterable[str]]) -> str | None:
    """The device that most rows were measured on; of equals the first by name. None where no row was measured."""
    labels = [label for labels in of_rows for label in set(labels)]
    return min(labels, key=lambda label: (-labels.count(label), label)) if labels else None


def _values(record: Record) -> list[tuple[str, float]]:
    latency = record.cost.get("latency_ms")
    values = {
        "fps": record.cost.get("fps"),
        "latency_ms": latency.get("median") if isinstance(latency, dict) else latency,
        "peak_memory_mb": record.cost.get("peak_memory_mb"),
    }
    return [(name, value) for name, value in values.items() if value is not None]


def _threads(cost: Mapping[str, Any]) -> str | None:
    """Of a CPU's measurement; on a GPU the CPU's threads do not count, and its memory is the allocator's."""
    threads = cost.get("threads")
    if threads is None or cost.get("device_type", "cpu") != "cpu":
        return None
    return f"{threads} thread{'' if threads == 1 else 's'}"


def _size(size: Sequence[int]) -> str:
    return "\N{MULTIPLICATION SIGN}".join(map(str, size))

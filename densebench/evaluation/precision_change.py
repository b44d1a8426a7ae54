"""What low precision changes in a test's metrics: a record of --amp against one of the same test in float32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from densebench.results.records import Record, read_records

FULL_PRECISION = "float32"


def change_line(path: Path, metrics: Sequence[str]) -> str | None:
    """The change of these metrics from the newest float32 record of the same test to the record `path`, in one line.

    Where none lies beside it, the line says so. None for a record of float32 itself.
    """
    records, _ = read_records([path.parent])
    own = next(record for record in records if record.path == path)
    if own.cost.get("dtype") == FULL_PRECISION:
        return None
    twins = [record for record in records if record.cost.get("dtype") == FULL_PRECISION and _is_same_test(record, own)]
    if not twins:
        return "Change against float32: not known, for the same test without --amp has no record here"
    twin = max(twins, key=lambda record: record.date)
    changes = [
        f"{name} {own.metrics[name] - twin.metrics[name]:+.3f}"
        for name in metrics
        if own.metrics.get(name) is not None and twin.metrics.get(name) is not None
    ]
    return f"Change against float32 ({twin.path.name}): {', '.join(changes)}"


def _is_same_test(one: Record, other: Record) -> bool:
    keys = ("checkpoint_sha256", "dataset_fingerprint")
    return (
        one.kind == other.kind
        and one.protocol == other.protocol
        and all(one.provenance.get(key) == other.provenance.get(key) for key in keys)
    )

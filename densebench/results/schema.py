"""The schema of a record: what its JSON document holds, and the check that it does (docs: contract, "Record")."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

SCHEMA = 1
KINDS = ("test-ss", "test-ms", "benchmark")

COST_KEYS = (
    "params_m",
    "flops_g",
    "flops_input",
    "fps",
    "latency_ms",
    "peak_memory_mb",
    "train_peak_memory_mb",
    "device",
    "dtype",
)
PROVENANCE_KEYS = (
    "date",
    "git_commit",
    "git_dirty",
    "config_sha256",
    "checkpoint_sha256",
    "weights_matched_percent",
    "dataset_fingerprint",
    "num_images",
    "seed",
    "world_size",
    "versions",
    "command",
)


_TYPES: dict[str, tuple[type, ...]] = {
    "schema": (int,),
    "kind": (str,),
    "experiment": (str,),
    "backbone": (str,),
    "method": (str,),
    "dataset": (str,),
    "pretrain": (str, type(None)),
    "schedule": (str, type(None)),
    "mini": (bool,),
    "total_batch": (int, type(None)),
    "images_per_gpu": (int, type(None)),
    "protocol": (dict,),
    "metrics": (dict,),
    "per_image": (str, type(None)),
    "cost": (dict,),
    "provenance": (dict,),
}
_NUMERIC_METRICS = (
    *("mIoU", "aAcc", "mAcc", "majority_class_mIoU"),
    *("bbox_AP", "bbox_AP50", "bbox_AP75", "segm_AP", "segm_AP50", "segm_AP75"),
)
_POSITIVE_COSTS = ("params_m", "flops_g", "fps", "peak_memory_mb", "train_peak_memory_mb")


def check_document(document: object) -> None:
    """Raises ValueError with what was expected and what was found; keys inside the parts may be more than ours."""
    if not isinstance(document, dict):
        raise ValueError(f"expected a JSON object, found {type(document).__name__}")
    if document.get("schema") != SCHEMA:
        raise ValueError(f"expected schema {SCHEMA}, found {reprlib.repr(document.get('schema'))}")
    if missing := [key for key in _TYPES if key not in document]:
        raise ValueError(f"keys are missing: {', '.join(missing)}")
    if unknown := [str(key) for key in document if key not in _TYPES]:
        raise ValueError(f"keys are unknown: {', '.join(unknown)}")
    for key, types in _TYPES.items():
        if not isinstance(document[key], types) or (isinstance(document[key], bool) and bool not in types):
            names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in types)
            raise ValueError(f"{key}: expected {names}, found {reprlib.repr(document[key])}")
    if document["kind"] not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, found {reprlib.repr(document['kind'])}")
    _check_numbers("metrics", document["metrics"], _NUMERIC_METRICS)
    _check_cost(document["cost"])
    _check_provenance(document["provenance"])


def parsed_date(date: Any) -> datetime:
    """A date of ISO 8601, in UTC where it names no time zone; raises ValueError."""
    try:
        parsed = datetime.fromisoformat(re.sub("Z$", "+00:00", date))  # "Z" is read from Python 3.11 on
    except (TypeError, ValueError) as error:
        raise ValueError(f"provenance.date: expected an ISO 8601 date, found {reprlib.repr(date)}") from error
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)


def _check_numbers(part: str, values: Mapping[str, Any], keys: Iterable[str]) -> None:
    for key in keys:
        if values.get(key) is not None and not _is_number(values[key]):
            raise ValueError(f"{part}.{key}: expected a finite number or null, found {reprlib.repr(values[key])}")


def _check_texts(part: str, values: Mapping[str, Any], keys: Iterable[str]) -> None:
    for key in keys:
        if not isinstance(values.get(key), (str, type(None))):
            raise ValueError(f"{part}.{key}: expected text or null, found {reprlib.repr(values[key])}")


def _check_cost(cost: Mapping[str, Any]) -> None:
    _check_numbers("cost", cost, _POSITIVE_COSTS)
    _check_texts("cost", cost, ("device", "dtype"))
    for key in _POSITIVE_COSTS:
        if cost.get(key) is not None and cost[key] <= 0:
            raise ValueError(f"cost.{key}: expected a positive number, or null where it is unknown, found {cost[key]}")
    latency = cost.get("latency_ms")
    if isinstance(latency, dict):
        _check_numbers("cost.latency_ms", latency, ("median",))
    else:
        _check_numbers("cost", cost, ("latency_ms",))
    size = cost.get("flops_input")
    if size is not None and not (isinstance(size, list) and len(size) == 2 and all(map(_is_number, size))):
        raise ValueError(f"cost.flops_input: expected [width, height] or null, found {reprlib.repr(size)}")


def _check_provenance(provenance: Mapping[str, Any]) -> None:
    parsed_date(provenance.get("date"))
    _check_numbers("provenance", provenance, ("num_images", "seed", "world_size", "weights_matched_percent"))
    _check_texts("provenance", provenance, ("git_commit", "config_sha256", "checkpoint_sha256", "dataset_fingerprint"))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -1e300 < value < 1e300  # NaN is neither

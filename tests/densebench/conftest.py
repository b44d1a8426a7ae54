from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from densebench.results.records import new_record_path, write_record

Factory = Callable[..., dict[str, Any]]
Saver = Callable[..., Path]


def make_record(kind: str = "test-ss", **changes: Any) -> dict[str, Any]:
    """A valid record; `changes` replace top-level keys, and are merged into the parts that are mappings."""
    is_test = kind != "benchmark"
    record: dict[str, Any] = {
        "schema": 1,
        "kind": kind,
        "experiment": "upernet_convnext_t_ade20k",
        "backbone": "convnext_t",
        "method": "upernet",
        "dataset": "ade20k",
        "pretrain": "in1k",
        "schedule": "160k",
        "mini": False,
        "total_batch": 16,
        "images_per_gpu": 2,
        "protocol": {"scales": [[2048, 512]], "flip": kind == "test-ms", "mode": "slide"} if is_test else {},
        "metrics": {"mIoU": 46.01234, "aAcc": 81.5, "mAcc": 57.1, "majority_class_mIoU": 0.1123} if is_test else {},
        "per_image": None,
        "cost": {"params_m": 60.24, "flops_g": 938.5, "flops_input": [2048, 512]},
        "provenance": {
            "date": "2026-11-20T10:00:00+00:00",
            "git_commit": "9f8e7d6c5b4a",
            "git_dirty": False,
            "checkpoint_sha256": "1a2b3c4d5e6f7a8b" if is_test else None,
            "dataset_fingerprint": "feedc0de12345678" if is_test else None,
            "num_images": 2000 if is_test else None,
            "seed": 0,
            "command": ["tools/test.py", "upernet_convnext_t_ade20k"],
        },
    }
    if not is_test:
        record["cost"] |= {"fps": 21.37, "latency_ms": {"median": 46.8}, "peak_memory_mb": 1834.2, "device": "H100"}
    for key, value in changes.items():
        record[key] = record[key] | value if isinstance(record[key], dict) else value
    return record


@pytest.fixture
def record() -> Factory:
    return make_record


@pytest.fixture
def save(tmp_path: Path) -> Saver:
    """Writes a valid record, with its per-image `parts`, into a work dir below `tmp_path / "work_dirs"`."""

    def save(kind: str = "test-ss", work_dir: str = "", parts: dict[str, Any] | None = None, **changes: Any) -> Path:
        document = make_record(kind, **changes)
        path = new_record_path(tmp_path / "work_dirs" / (work_dir or "experiment"), kind)
        if parts is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            document["per_image"] = path.with_suffix(".npz").name
            np.savez(path.with_suffix(".npz"), **parts)
        elif document["per_image"]:
            path.parent.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(path.parent / document["per_image"], "w") as file:
                file.writestr("intersections.npy", b"")
        write_record(document, path)
        return path

    return save

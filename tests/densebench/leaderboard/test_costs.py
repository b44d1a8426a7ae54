"""Costs of one experiment from several benchmarks: kept apart by device, merged value by value."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from densebench.leaderboard.chart import charts
from densebench.leaderboard.csv_table import csv_text
from densebench.leaderboard.entries import Entry, measured_entries
from densebench.leaderboard.page import render_page
from densebench.leaderboard.table import build_tables
from densebench.results.records import read_records

EARLIER, LATER, LATEST = ({"date": f"2026-11-2{day}T10:00:00+00:00"} for day in (1, 2, 3))
CPU = {"device": "EPYC", "device_type": "cpu", "threads": 2, "dtype": "float32"}


@pytest.fixture
def read(tmp_path: Path) -> Any:
    return lambda: read_records([tmp_path / "work_dirs"])[0]


def values(entry: Entry) -> dict[str, float]:
    return {name: figure.value for name, figure in entry.figures.items()}


def test_a_later_benchmark_of_latency_alone_hides_nothing(save: Any, read: Any) -> None:
    save("benchmark", provenance=EARLIER, cost=CPU | {"params_m": 60.0, "fps": 1.0, "peak_memory_mb": 900.0})
    unknown = dict.fromkeys(("params_m", "flops_g", "flops_input", "peak_memory_mb"))
    save("benchmark", provenance=LATER, cost=CPU | unknown | {"fps": 2.0, "latency_ms": {"median": 500.0}})
    (entry,) = measured_entries(read())
    assert values(entry) == {
        "params_m": 60.0, "flops_g": 938.5, "fps": 2.0, "latency_ms": 500.0, "peak_memory_mb": 900.0,
    }  # fmt: skip
    assert (entry.flops_input, entry.device) == ((2048, 512), "EPYC, 2 threads")
    assert (len(entry.records), entry.older_records) == (2, 0)


@pytest.mark.parametrize(
    ("change", "label"),
    [
        ({"device": "H200", "device_type": "cuda"}, "H200"),
        ({"threads": 1}, "EPYC, 1 thread"),
        ({"dtype": "bfloat16"}, "EPYC, 2 threads, bfloat16"),
        ({"memory_format": "channels_last"}, "EPYC, 2 threads, channels last"),
        ({"compiled": ["backbone"]}, "EPYC, 2 threads, compiled"),
        ({"merged": False}, "EPYC, 2 threads, not merged"),
    ],
)
def test_another_device_or_setting_stands_apart(save: Any, read: Any, change: dict[str, Any], label: str) -> None:
    save("benchmark", provenance=EARLIER, cost=CPU | {"fps": 1.0})
    save("benchmark", provenance=LATER, cost=CPU | change | {"fps": 9.0})
    (entry,) = measured_entries(read())
    assert entry.device == label  # the newest
    assert {device: figures["fps"].value for device, figures in entry.costs.items()} == {
        "EPYC, 2 threads": 1.0,
        label: 9.0,
    }
    assert values(entry.on("EPYC, 2 threads"))["fps"] == 1.0
    assert "fps" not in entry.on("other").figures


@pytest.mark.parametrize(
    ("protocol", "label"),
    [
        ({"batch_size": 8, "input": [2048, 512]}, "EPYC, 2 threads, batch 8"),
        ({"batch_size": 1, "input": [512, 512]}, "EPYC, 2 threads, 512\N{MULTIPLICATION SIGN}512"),
        ({"batch_size": 1, "input": [2048, 512]}, "EPYC, 2 threads"),
    ],
)
def test_another_batch_or_size_is_named(save: Any, read: Any, protocol: dict[str, Any], label: str) -> None:
    save("benchmark", provenance=EARLIER, cost=CPU)
    save("benchmark", provenance=LATER, protocol=protocol, cost=CPU | {"flops_g": None})
    (entry,) = measured_entries(read())
    assert entry.device == label


def test_a_table_shows_the_device_that_most_rows_have(save: Any, read: Any) -> None:
    for name in "abc":
        save(experiment=name)
        save("benchmark", experiment=name, provenance=EARLIER, cost=CPU | {"fps": 1.0})
    save("benchmark", experiment="a", provenance=LATER, cost={"device": "H200", "device_type": "cuda", "fps": 90.0})
    save("benchmark", experiment="b", provenance=LATER, cost={"device": "H200", "device_type": "cuda", "fps": 80.0})
    (table,) = build_tables(read()).tables
    rows = {row.entry.experiment: row.entry for row in table.rows}
    assert {rows[name].device for name in "abc"} == {"EPYC, 2 threads"}
    speeds = {chart.device: len(chart.points) for chart in charts(table) if chart.axis.key == "fps"}
    assert speeds == {"EPYC, 2 threads": 3, "H200": 2}
    assert next(chart for chart in charts(table) if chart.axis.key == "fps").device == "EPYC, 2 threads"
    assert "Cost by device" in render_page([table], [], "today")
    (line,) = (line for line in csv.DictReader(io.StringIO(csv_text([table]))) if line["experiment"] == "a")
    assert (line["fps"], line["device"]) == ("1.0", "EPYC, 2 threads")
    assert line["other_devices"].startswith("H200: fps=90.0")

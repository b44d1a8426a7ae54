from __future__ import annotations

import io
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from rich.console import Console

from densebench import provenance
from densebench.cost import grid
from densebench.cost.benchmark import benchmark
from densebench.cost.grid import measure_grid
from densebench.cost.measure import CostSettings
from densebench.cost.tables import grid_table
from densebench.errors import DensebenchError
from densebench.recipe import Recipe, RunOptions, resolve
from densebench.results.records import read_records
from tests.running import run_tool

ROOT = Path(__file__).resolve().parents[3]
DEMO = str(ROOT / "configs" / "demo" / "upernet_timm_resnet18_ade20k.py")
ONLY_PARAMS = CostSettings(only=("params",))


def only_record(work_dir: Path) -> Any:
    records, problems = read_records([work_dir])
    assert not problems
    assert len(records) == 1
    return records[0]


def test_counts_end_to_end(tmp_path: Path) -> None:
    copy = tmp_path / "copy.json"
    result = run_tool(
        *("benchmark", "upernet_convnext_t_ade20k", "--only", "params,flops", "--work-dir", tmp_path / "run"),
        *("--json", copy),
        fresh=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "60.24 M" in result.stdout
    assert "938.5 G" in result.stdout

    record = only_record(tmp_path / "run")
    assert (record.kind, record.experiment, record.pretrain) == ("benchmark", "upernet_convnext_t_ade20k", "in1k")
    assert record.protocol == {"input": [2048, 512], "batch_size": 1, "only": ["params", "flops"]}
    assert record.cost["flops_input"] == [2048, 512]
    assert sum(record.cost["flops_by_part"].values()) == pytest.approx(record.cost["flops_g"])
    unmeasured = ("fps", "latency_ms", "peak_memory_mb", "train_peak_memory_mb", "device", "dtype")
    assert all(record.cost[key] is None for key in unmeasured)
    assert set(record.metrics.values()) == {None}
    assert record.provenance["command"][1] == "upernet_convnext_t_ade20k"
    assert json.loads(copy.read_text()) == json.loads(record.path.read_text())


def test_latency_and_memory_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # others of a busy machine would wait for one another
    result = run_tool(
        *("benchmark", DEMO, "--mini", "--only", "latency,memory", "--device", "cpu", "--batch-size", "2"),
        *("--shape", "32", "32"),
        *("--amp", "--channels-last", "--work-dir", tmp_path),
        fresh=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    record = only_record(tmp_path)
    cost = record.cost
    assert record.mini
    assert record.pretrain == "none"
    assert (cost["params_m"], cost["flops_g"], cost["flops_input"]) == (None, None, None)
    assert (cost["dtype"], cost["memory_format"], cost["threads"]) == ("bfloat16", "channels_last", 1)
    assert cost["device"]
    latency = cost["latency_ms"]
    assert (latency["batch_size"], latency["input"]) == (2, [32, 32])
    assert latency["p5"] <= latency["median"] <= latency["p95"]
    assert cost["fps"] == pytest.approx(2000 / latency["median"])
    weights_mb = 13.8 * 4 * 1e6 / 2**20
    assert cost["peak_memory_mb"] > weights_mb
    assert cost["train_peak_memory_mb"] > 4 * weights_mb  # with gradients and two states
    assert (cost["train_batch_size"], cost["train_memory_note"]) == (2, None)
    assert set(latency["parts"]) == {"data", "backbone", "head", "post_processing"}
    assert latency["end_to_end"]["median"] > 0


def test_a_prediction_measures_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = CostSettings(only=("memory",), estimate=True, amp=True)
    benchmark(RunOptions(DEMO, work_dir=str(tmp_path)), settings, ["tool"])
    cost = only_record(tmp_path).cost
    found = cost["train_memory_estimate"]
    assert (cost["peak_memory_mb"], cost["train_peak_memory_mb"], cost["device"]) == (None, None, None)
    assert (found["images"], found["input"], found["amp"]) == (2, [512, 512], True)
    assert 1000 < found["peak_mb"] < found["several_gpus_mb"] < 5000
    assert "training, predicted" in capsys.readouterr().out


def test_a_grid_has_a_row_for_each_combination_and_says_what_it_left_out() -> None:
    recipe = resolve(RunOptions(DEMO, mini=True, pretrained="none"), with_data=False)
    seconds = iter([0.0, 0.0, *[1e9] * 20])
    rows = measure_grid(recipe, CostSettings(shape=(64, 64), device="cpu"), 60.0, clock=lambda: next(seconds))
    assert len({(row["dtype"], row["memory_format"], row["compile"]) for row in rows}) == 8
    assert [row["note"] is None for row in rows] == [True] + [False] * 7
    assert all((row["fps"] is None) == (row["note"] is not None) for row in rows)
    assert "not begun after 60 s" in rows[-1]["note"]


def test_another_backbone_has_no_label_of_pretraining(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = RunOptions("upernet_convnext_t_ade20k", backbone="timm/resnet18", work_dir=str(tmp_path))
    benchmark(options, ONLY_PARAMS, ["tool"])
    assert "does not know: layer_scale_init_value" in capsys.readouterr().out
    record = only_record(tmp_path)
    assert (record.backbone, record.pretrain, record.cost["flops_g"]) == ("timm/resnet18", None, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "params,speed"], "unknown measurement 'speed', expected some of params,flops,latency,memory"),
        (["--only", ""], "unknown measurement ''"),
        (["--shape", "0", "512"], "expected a whole number from 1"),
    ],
)
def test_usage_errors(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = run_tool("benchmark", "upernet_convnext_t_ade20k", "--work-dir", str(tmp_path), *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert not list(tmp_path.rglob("*.json"))


def test_a_copy_that_cannot_be_written_is_told_before_measuring(tmp_path: Path) -> None:
    options = RunOptions("upernet_convnext_t_ade20k", work_dir=str(tmp_path))
    with pytest.raises(DensebenchError, match="there is no folder"):
        benchmark(options, ONLY_PARAMS, ["tool"], tmp_path / "missing" / "copy.json")
    assert not list(tmp_path.rglob("*.json"))


def test_own_data_needs_a_number_of_classes(tmp_path: Path) -> None:
    options = RunOptions("upernet_convnext_t_folder", work_dir=str(tmp_path))
    with pytest.raises(DensebenchError, match="--cfg-options num_classes=N"):
        benchmark(options, ONLY_PARAMS, ["tool"])
    benchmark(replace(options, cfg_options={"num_classes": 19}), ONLY_PARAMS, ["tool"])
    assert only_record(tmp_path).cost["params_m"] == pytest.approx(60.14, abs=0.01)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_device_is_told(tmp_path: Path) -> None:
    options = RunOptions(DEMO, mini=True, work_dir=str(tmp_path))
    with pytest.raises(DensebenchError, match=r"--device cuda: torch finds no CUDA device"):
        benchmark(options, CostSettings(only=("latency",), device="cuda"), ["tool"])


def test_provenance_of_a_checkout_and_of_an_installation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    collected = provenance.collect("text", ["tool", "argument"], num_images=7)
    assert collected["config_sha256"] == "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"
    assert collected["num_images"] == 7
    assert collected["seed"] is None
    assert set(collected["versions"]) == {"python", *provenance.PACKAGES, "densebench"}
    assert all(collected["versions"].values())

    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert provenance.git_commit() is None
    assert provenance.collect("text", [])["git_dirty"] is None

    # Inside another repository, that one's commit is not ours.
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "empty"], check=True)
    assert provenance.git_commit() is not None
    monkeypatch.setattr(provenance, "ROOT", tmp_path / ".venv")
    (tmp_path / ".venv").mkdir()
    assert provenance.git_commit() is None


@pytest.mark.parametrize("failure", [RuntimeError, OSError, AssertionError])
def test_a_combination_that_does_not_compile_is_a_row_with_its_reason(
    failure: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(recipe: object, settings: CostSettings) -> dict[str, Any]:
        if settings.compile and settings.amp:
            raise failure("backend='inductor' raised:\nCppCompileError: C++ compile error\n" + 200 * "g++ ")
        return {"latency_ms": {"median": 5.0, "p5": 4.0, "p95": 6.0}, "fps": 200.0}

    monkeypatch.setattr(grid, "measure", measured)
    rows = measure_grid(cast(Recipe, None), CostSettings(device="cpu"))
    notes = [row["note"] for row in rows if row["compile"] and row["dtype"] == "bfloat16"]
    assert len(rows) == 8 and len(notes) == 2
    assert all(note.startswith("backend='inductor' raised: CppCompileError: C++ compile") for note in notes)
    assert all(len(note) <= 120 for note in notes)
    assert [row["fps"] for row in rows if row["note"] is None] == [200.0] * 6


def test_a_failure_that_is_no_compilers_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(recipe: object, settings: CostSettings) -> dict[str, Any]:
        raise TypeError("a mistake")

    monkeypatch.setattr(grid, "measure", measured)
    with pytest.raises(TypeError):
        measure_grid(cast(Recipe, None), CostSettings(device="cpu"))


def test_the_table_of_a_grid_tells_reasons_below_and_once() -> None:
    one = {"dtype": "float32", "memory_format": "contiguous", "compile": True, "latency_ms": None, "fps": None}
    rows = [{**one, "note": note} for note in ("no [compiler] here", "no [compiler] here", "not begun after 600 s")]
    output = io.StringIO()
    Console(file=output, width=80).print(grid_table(rows))
    lines = [line.strip() for line in output.getvalue().splitlines()]
    assert "[1] no [compiler] here" in lines and "[2] not begun after 600 s" in lines
    assert [line[-3:] for line in lines if line.startswith("float32")] == ["[1]", "[1]", "[2]"]

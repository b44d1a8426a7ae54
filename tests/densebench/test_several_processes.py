"""Two processes on the CPU, started by torchrun and as SLURM does, against one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from densebench.results.records import Record, read_records
from tests.running import fails, run_command, run_tool

ROOT = Path(__file__).resolve().parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
# 23 images on two processes: the last batch of one of them is padded.
ODD = ("--cfg-options", "test_dataloader.dataset.indices=23")


def tool(name: str, *arguments: object) -> list[str]:
    return [str(ROOT / "tools" / f"{name}.py"), *map(str, arguments)]


def run_under_slurm(command: list[str], cwd: Path) -> list[tuple[int, str, str]]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    processes = []
    for rank in range(2):
        variables = {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "SLURM_NTASKS": "2"}
        environment = {**os.environ, **variables, "SLURM_NODELIST": "localhost", "MASTER_PORT": port}
        processes.append(
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd, env=environment
            )
        )
    outputs = [process.communicate(timeout=300) for process in processes]
    return [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


def records_of(work_dir: Path) -> list[Record]:
    records, problems = read_records([work_dir])
    assert not problems
    return records


@pytest.fixture(scope="module")
def trained(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A recipe of four images a step, and the work dir of a training by two processes."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = folder / "upernet_four_ade20k.py"
    recipe.write_text(f"_base_ = ['{tiny_recipe}']\nmini = dict(total_batch=4)\n")
    options = ("--mini", "--seed", 1, "--work-dir", folder / "run", "--launcher", "slurm")
    results = run_under_slurm([sys.executable, *tool("train", recipe, *options)], folder)
    assert [code for code, _, _ in results] == [0, 0], results
    assert [text.count("Checkpoint: ") for _, text, _ in results] == [1, 0]  # one process speaks
    return recipe, folder / "run"


def test_slurm_and_torchrun_train_alike(trained: tuple[Path, Path], tmp_path: Path) -> None:
    import torch

    from densebench.checkpoint import read_checkpoint

    recipe, work_dir = trained
    options = ("--mini", "--seed", 1, "--work-dir", tmp_path / "run", "--launcher", "pytorch")
    result = run_command([*TORCHRUN, *tool("train", recipe, *options)], tmp_path)
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]  # nothing left in the current folder
    assert not list((tmp_path / "run").glob(".*"))
    slurm, torchrun = (read_checkpoint(folder / "iter_3.pth")["state_dict"] for folder in (work_dir, tmp_path / "run"))
    assert all(torch.equal(slurm[name], torchrun[name]) for name in slurm)


def test_no_padded_image_counts_twice(trained: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, work_dir = trained
    options = (recipe, work_dir / "iter_3.pth", "--mini", "--work-dir", tmp_path, *ODD)
    by_two = run_command([*TORCHRUN, *tool("test", *options, "--launcher", "pytorch")], tmp_path)
    for result in (by_two, run_tool("test", *options, cwd=tmp_path)):
        assert result.returncode == 0, result.stderr
    two, one = records_of(tmp_path)
    assert (two.provenance["world_size"], one.provenance["world_size"]) == (2, 1)
    assert two.provenance["num_images"] == one.provenance["num_images"] == 23
    for name in ("mIoU", "aAcc", "mAcc"):
        assert two.metrics[name] == pytest.approx(one.metrics[name], abs=1e-6)


def test_variables_that_make_no_sense_are_one_message(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("SLURM_NTASKS", "2"), ("SLURM_PROCID", "7"), ("SLURM_LOCALID", "0")):
        monkeypatch.setenv(name, value)
    options = (tiny_recipe, "--mini", "--work-dir", tmp_path, "--launcher", "slurm")
    fails(run_tool("train", *options), "at most 1 was expected")


# Rank 0 writes the results while the other one is done already. Without leaving together, gloo aborts the other
# process in about half of the runs, and torchrun kills rank 0 before it has written.
LATE_WRITER = """
import sys, time
from pathlib import Path
import torch
from densebench.engine.distributed import is_main_process, process_group
with process_group("pytorch"):
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(64, 64))
    model(torch.ones(4, 64)).sum().backward()
    if is_main_process():
        time.sleep(0.7)
        Path(sys.argv[1]).touch()
"""


@pytest.mark.slow
def test_processes_leave_together(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(LATE_WRITER)
    for attempt in range(8):
        written = tmp_path / f"written{attempt}"
        result = run_command([*TORCHRUN, str(program), str(written)], tmp_path)
        assert result.returncode == 0, (attempt, result.stderr)
        assert written.exists()


FAILING = """
import argparse
from densebench import cli
from densebench.engine.distributed import is_main_process, process_group
from densebench.errors import DensebenchError
def main(arguments):
    with process_group("slurm"):
        if is_main_process():
            raise DensebenchError("the disk is full")
cli.run(argparse.ArgumentParser(prog="tool"), main)
"""


def test_the_failure_of_one_is_told_once(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(FAILING)
    first, second = run_under_slurm([sys.executable, str(program)], tmp_path)
    assert first[0] == second[0] == 1
    assert first[2] == "tool: the disk is full\n"
    assert "Another process of this run ended" in second[2] and "Traceback" not in second[2]

"""--resume: a stopped run goes on as if it had not been stopped, or says why it cannot."""

import argparse
import errno
import resource
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from densebench import cli
from densebench.checkpoint import read_checkpoint
from densebench.data import mini
from densebench.engine.resuming import Start, require_same_run
from densebench.engine.training import resumed
from densebench.engine.work_dir import latest_checkpoint, newest_checkpoint
from densebench.errors import DensebenchError
from tests.running import fails, run_tool

# Resuming is for full runs; the folder recipe is small enough with small crops. Crops, flips and drop path are random.
OPTIONS = (
    *("upernet_convnext_t_folder", "--seed", "1", "--cfg-options"),
    *("crop_size=(64,64)", "train_scale=(256,64)", "test_ss.scale=(256,64)", "test_ss.mode=whole"),
    *("total_batch=2", "train_dataloader.num_workers=0", "test_dataloader.num_workers=0"),
    *("model.backbone.depths=(1,1,1,1)", "model.backbone.dims=(8,8,8,8)", "model.decode_head.channels=8"),
    *("schedule.iterations=4", "schedule.warmup.iterations=1"),
)


def checkpoint(path: Path, **identity: object) -> Path:
    """A checkpoint that says what run it comes from, and holds one number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"meta": {"densebench": identity, "iter": 7}, "state_dict": {"weight": torch.zeros(1)}}, path)
    return path


def test_a_resumed_run_is_the_uninterrupted_run(tmp_path: Path) -> None:
    data = ("--data-root", mini.make("folder"))
    whole = run_tool("train", *OPTIONS, "val_interval=4", "--work-dir", tmp_path / "whole", *data)
    assert whole.returncode == 0, whole.stderr
    first, parts = tmp_path / "first", tmp_path / "parts"
    stopped = run_tool(
        "train", *OPTIONS, "val_interval=1", "train_cfg.max_iters=2", "--work-dir", first, *data, "--resume"
    )
    assert stopped.returncode == 0, stopped.stderr
    assert "nothing to resume" in stopped.stdout and "Checkpoint: " in stopped.stdout
    assert sorted(path.name for path in first.glob("*.pth")) == ["iter_1.pth", "iter_2.pth"]

    # Moved, and with what a run leaves that is killed while saving.
    first.rename(parts)
    (parts / "last_checkpoint").write_text("")
    (parts / ".iter_3.pth.partial").write_bytes(b"half")
    resumed_run = run_tool("train", *OPTIONS, "val_interval=1", "--work-dir", parts, *data, "--resume")
    assert resumed_run.returncode == 0, resumed_run.stderr
    assert f"resuming from iteration 2 of {parts / 'iter_2.pth'}" in resumed_run.stdout
    assert "iteration 4/4" in resumed_run.stdout and "iteration 1/4" not in resumed_run.stdout
    # max_keep_ckpts counts those of before.
    assert sorted(path.name for path in parts.glob("*.pth")) == ["iter_3.pth", "iter_4.pth"]
    assert not list(parts.glob(".*"))

    expected, found = (read_checkpoint(folder / "iter_4.pth") for folder in (tmp_path / "whole", parts))
    for name, tensor in expected["state_dict"].items():
        assert torch.equal(found["state_dict"][name], tensor), name
    for index, state in expected["optimizer"]["state"].items():
        assert all(torch.equal(found["optimizer"]["state"][index][key], value) for key, value in state.items())
    assert found["param_schedulers"] == expected["param_schedulers"]

    longer = [option.replace("iterations=4", "iterations=8") for option in OPTIONS]
    fails(run_tool("train", *longer, "val_interval=4", "--work-dir", parts, *data, "--resume"), "ends at iterations")
    once_more = run_tool("train", *OPTIONS, "val_interval=1", "--work-dir", parts, *data, "--resume")
    assert f"Checkpoint: {parts / 'iter_4.pth'}" in once_more.stdout, once_more.stderr


def test_the_order_of_the_images_is_that_of_the_first_run() -> None:
    config = Config({"randomness": {"seed": None}, "resume": False, "load_from": None})
    assert resumed(config, None) is config
    start = resumed(config, Start(Path("iter_2.pth"), 2, seed=77))
    assert start.randomness.seed == 77 and start.resume and start.load_from == "iter_2.pth"
    assert config.randomness.seed is None and not config.resume


def test_another_run_is_not_resumed() -> None:
    trained = {"backbone": "a", "method": "m", "dataset": "d", "pretrain": "none", "total_batch": 16, "seed": None}
    require_same_run(trained, trained, Path("x.pth"))
    require_same_run({}, trained, Path("x.pth"))
    with pytest.raises(DensebenchError, match="pretrain was none, is in1k; seed was None, is 3"):
        require_same_run(trained, {**trained, "pretrain": "in1k", "seed": 3}, Path("x.pth"))


def test_miniatures_and_full_runs_do_not_mix(tmp_path: Path) -> None:
    full = checkpoint(tmp_path / "iter_160000.pth", mini=False)
    small = checkpoint(tmp_path / "iter_20.pth", mini=True)
    assert latest_checkpoint(tmp_path, mini=False) == full
    assert latest_checkpoint(tmp_path, mini=True) == small
    full.unlink()
    assert newest_checkpoint(tmp_path, mini=False) is None
    with pytest.raises(DensebenchError, match=r"of a full run in .* of --mini runs: iter_20\.pth"):
        latest_checkpoint(tmp_path, mini=False)
    foreign = tmp_path / "released.pth"
    torch.save({"weight": torch.zeros(1)}, foreign)
    assert latest_checkpoint(tmp_path, mini=False) == foreign


def test_runs_with_a_seed_are_named_where_there_is_none_without(tmp_path: Path) -> None:
    checkpoint(tmp_path / "upernet_seed3" / "iter_4.pth", mini=False)
    checkpoint(tmp_path / "upernet_mini_seed3" / "iter_4.pth", mini=True)
    with pytest.raises(DensebenchError, match=r"of their own: \S*/upernet_seed3\. Train first"):
        latest_checkpoint(tmp_path / "upernet", mini=False)


def limit_file_size() -> None:
    """Writing more fails as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))


def test_a_full_disk_is_one_message_and_leaves_no_half_file(tiny_recipe: Path, tmp_path: Path) -> None:
    options = ("--mini", "--mini-iters", 1, "--work-dir", tmp_path)
    result = run_tool("train", tiny_recipe, *options, before=limit_file_size)
    fails(result, f"{tmp_path / 'iter_1.pth'} cannot be written", "Make room")
    assert not list(tmp_path.glob("*.pth")) and not list(tmp_path.glob(".*"))


def test_a_full_disk_is_one_message_wherever_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    def main(arguments: argparse.Namespace) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "run/last_checkpoint")

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as found:
        patch.setattr(sys, "argv", ["tool"])
        cli.run(argparse.ArgumentParser(prog="tool"), main)
    assert found.value.code == 1
    assert (
        capsys.readouterr().err == "tool: No space left on device at run/last_checkpoint; make room and start again.\n"
    )


@pytest.mark.parametrize(("override", "option"), [("work_dir=x", "--work-dir"), ("randomness.seed=1", "--seed")])
def test_an_override_does_not_split_a_run(tiny_recipe: Path, tmp_path: Path, override: str, option: str) -> None:
    from densebench.recipe import RunOptions, resolve

    key, _, value = override.partition("=")
    with pytest.raises(DensebenchError, match=f"set it with {option}"):
        resolve(RunOptions(str(tiny_recipe), mini=True, work_dir=str(tmp_path), cfg_options={key: value}))

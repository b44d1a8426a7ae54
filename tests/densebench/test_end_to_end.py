"""The main job on the miniature: train, resume, test at one and many scales, a plain Runner, bad input."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from densebench.checkpoint import read_checkpoint
from densebench.data import mini
from densebench.results.records import read_records
from tests.running import fails, run_command, run_tool


@pytest.fixture(scope="module")
def trained(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work dir of a short training."""
    work_dir = tmp_path_factory.mktemp("trained")
    result = run_tool("train", tiny_recipe, "--mini", "--seed", 3, "--work-dir", work_dir, fresh=True)
    assert result.returncode == 0, result.stderr
    (work_dir / "stdout").write_text(result.stdout)
    (work_dir / "stderr").write_text(result.stderr)
    return work_dir


@pytest.fixture
def own_data(tmp_path: Path) -> Path:
    """A copy of the folder miniature that a test may damage."""
    root = tmp_path / "data"
    shutil.copytree(mini.make("folder"), root)
    return root


def test_training_is_quiet_and_leaves_what_it_should(trained: Path) -> None:
    lines = (trained / "stdout").read_text().splitlines()
    assert sum("iteration" in line and "loss" in line for line in lines) == 3
    assert any("validation: mIoU" in line for line in lines)
    assert len(lines) < 12 and "OneDL" not in "".join(lines)
    assert (trained / "stderr").read_text() == ""
    assert (trained / "config.py").is_file() and (trained / "iter_3.pth").is_file()
    assert not list(trained.glob(".*partial*"))


def test_the_checkpoint_is_plain_and_says_what_it_is(trained: Path) -> None:
    content = read_checkpoint(trained / "iter_3.pth")
    identity = content["meta"]["densebench"]
    assert identity["backbone"] == "convnextv2_atto" and identity["seed"] == 3 and identity["mini"]
    assert "optimizer" not in content  # a miniature saves none


def test_the_same_seed_trains_the_same_weights(trained: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    result = run_tool("train", tiny_recipe, "--mini", "--seed", 3, "--work-dir", tmp_path)
    assert result.returncode == 0, result.stderr
    first, second = (read_checkpoint(folder / "iter_3.pth")["state_dict"] for folder in (trained, tmp_path))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(("kind", "options"), [("test-ss", []), ("test-ms", ["--aug-test"])])
def test_testing_writes_a_whole_record(
    trained: Path, tiny_recipe: Path, tmp_path: Path, kind: str, options: list[str]
) -> None:
    out, show = tmp_path / "out", tmp_path / "show"
    content = read_checkpoint(trained / "iter_3.pth")
    content["meta"]["densebench"]["starting_weights_matched_percent"] = 87.5  # as if started with --allow-partial
    torch.save(content, tmp_path / "iter_3.pth")
    result = run_tool(
        "test", tiny_recipe, tmp_path / "iter_3.pth", "--mini", *options,
        "--work-dir", tmp_path, "--out", out, "--show-dir", show, fresh=kind == "test-ss",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    records, problems = read_records([tmp_path])
    assert not problems
    (record,) = records
    assert record.kind == kind and record.experiment == "upernet_tiny_ade20k_mini_seed3"
    assert record.protocol["flip"] is (kind == "test-ms")
    assert record.provenance["seed"] == 3 and record.provenance["num_images"] == 24
    assert record.provenance["weights_matched_percent"] == 100
    assert record.provenance["starting_weights_matched_percent"] == 87.5
    assert record.cost["flops_g"] > 0 and record.cost["fps"] > 0
    assert {"model", "data", "evaluation"} <= set(record.cost["time_share"])
    assert any(line.startswith("Time: ") and "model" in line for line in result.stdout.splitlines())

    # The printed mIoU is that of the record's per-image parts.
    with np.load(record.per_image) as parts:
        intersections, unions = parts["intersections"], parts["unions"]
        assert intersections.shape == unions.shape == (24, 150)
        assert not any(name.startswith("/") for name in parts["images"])
    iou = intersections.sum(0)[unions.sum(0) > 0] / unions.sum(0)[unions.sum(0) > 0]
    assert 100 * iou.mean() == pytest.approx(record.metrics["mIoU"], abs=1e-9)

    # The label pictures, in ADE20K's encoding, give the same counts.
    root = mini.make("ade20k")
    labels = {path.stem: np.array(Image.open(path)) for path in (root / "annotations/validation").glob("*.png")}
    pictures = {path.stem: np.array(Image.open(path)) for path in out.glob("*.png")}
    assert set(labels) == set(pictures) == {path.stem for path in show.glob("*.jpg")}
    hits = sum(int(((pictures[name] == labels[name]) & (labels[name] > 0)).sum()) for name in labels)
    assert hits == intersections.sum()


def test_the_saved_config_runs_under_a_plain_runner(trained: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from mmengine.config import Config; from mmengine.runner import Runner\n"
        f"config = Config.fromfile({str(trained / 'config.py')!r}); config.work_dir = {str(tmp_path)!r}\n"
        "Runner.from_cfg(config).train()\n"
    )
    result = run_command([sys.executable, "-c", program])
    assert result.returncode == 0, result.stderr
    twin = read_checkpoint(tmp_path / "iter_3.pth")["state_dict"]
    ours = read_checkpoint(trained / "iter_3.pth")["state_dict"]
    assert all(torch.equal(twin[name], ours[name]) for name in ours)


def test_training_on_own_data_with_an_ignore_value(own_data: Path, tmp_path: Path) -> None:
    result = run_tool(
        "train", "upernet_convnext_t_folder", "--data-root", own_data, "--backbone", "timm/resnet18", "--mini",
        "--mini-iters", 1, "--work-dir", tmp_path, "--cfg-options", "model.decode_head.channels=16",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "arguments that timm/resnet18 does not know: layer_scale_init_value" in result.stdout


def spoil_value(root: Path) -> str:
    file = root / "labels/train" / sorted(path.name for path in (root / "labels/train").iterdir())[0]
    for path in (root / "labels/train").iterdir():
        labels = np.array(Image.open(path))
        labels[0, 0] = 77
        Image.fromarray(labels).save(path)
    assert file.is_file()
    return "77 (1 pixels)"


def spoil_image(root: Path) -> str:
    for path in (root / "images/train").iterdir():
        path.write_bytes(b"not a picture")
    return "cannot be read"


def spoil_size(root: Path) -> str:
    for path in (root / "labels/train").iterdir():
        Image.open(path).resize((31, 17), Image.Resampling.NEAREST).save(path)
    return "differ in size"


def spoil_split(root: Path) -> str:
    for folder in ("images", "labels"):
        for path in (root / folder / "val").iterdir():
            path.unlink()
    return "it is empty"


@pytest.mark.parametrize("spoil", [spoil_value, spoil_image, spoil_size, spoil_split])
def test_bad_data_is_one_message_and_exit_1(own_data: Path, tmp_path: Path, spoil: object) -> None:
    expected = spoil(own_data)
    result = run_tool(
        "train", "upernet_convnext_t_folder", "--data-root", own_data, "--mini", "--mini-iters", 1,
        "--work-dir", tmp_path / "run", "--cfg-options", "train_dataloader.num_workers=1",
        "model.backbone.depths=(1,1,1,1)", "model.backbone.dims=(8,8,8,8)", "model.decode_head.channels=8",
    )  # fmt: skip
    assert result.returncode == 1
    assert expected in result.stderr and "Traceback" not in result.stderr
    assert str(own_data) in result.stderr


def test_other_bad_input(trained: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    fails(run_tool("train", "upernet_convnext_t_ade20k", "--data-root", tmp_path / "none"), "--mini runs without it")
    fails(run_tool("train", "upernet_convnext_tt_ade20k", "--mini"), "Near matches: upernet_convnext_t_ade20k")
    fails(run_tool("train", tiny_recipe, "--mini", "--backbone", "convnex_t"), "near matches: convnext_t")
    (tmp_path / "file").touch()
    fails(
        run_tool("train", tiny_recipe, "--mini", "--work-dir", tmp_path / "file" / "run"), "work dir", "cannot be made"
    )
    fails(run_tool("train", tiny_recipe, "--mini", "--resume"), "--resume needs the optimizer's state")
    fails(run_tool("test", tiny_recipe, "--mini", "--work-dir", tmp_path), "No checkpoint (*.pth) of a --mini run")


def test_checkpoints_that_do_not_fit(trained: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pth"
    cut.write_bytes((trained / "iter_3.pth").read_bytes()[:5000])
    fails(run_tool("test", tiny_recipe, cut, "--mini", "--work-dir", tmp_path), "cannot be read as a checkpoint")
    other = ("--backbone", "timm/resnet18", "--work-dir", tmp_path)
    fails(
        run_tool("test", tiny_recipe, trained / "iter_3.pth", "--mini", *other),
        "was trained as upernet + convnextv2_atto", "the config is upernet + timm/resnet18",
    )  # fmt: skip
    foreign = tmp_path / "foreign.pth"
    torch.save({"state_dict": {"backbone.conv1.weight": torch.zeros(3)}}, foreign)
    fails(run_tool("test", tiny_recipe, foreign, "--mini", "--work-dir", tmp_path), "fills 0.0 % of the model")
    assert not list(tmp_path.rglob("records/*"))


def test_starting_weights_from_a_file(trained: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    options = ("--mini", "--mini-iters", 1, "--pretrained", trained / "iter_3.pth", "--work-dir", tmp_path)
    result = run_tool("train", tiny_recipe, *options)
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "load_report.json").read_text())
    assert report["pretrain"] == "file:iter_3.pth" and report["matched_percent"] == 100
    identity = read_checkpoint(tmp_path / "iter_1.pth")["meta"]["densebench"]
    assert identity["starting_weights_matched_percent"] == 100
    foreign = tmp_path / "foreign.pth"
    torch.save({"model": {"conv1.weight": torch.zeros(3)}}, foreign)
    fails(
        run_tool("train", tiny_recipe, "--mini", "--pretrained", foreign, "--work-dir", tmp_path / "other"),
        "fills 0.0 % of the backbone", "--allow-partial",
    )  # fmt: skip


def test_a_dry_run_prints_rates_and_writes_nothing(tiny_recipe: Path, tmp_path: Path) -> None:
    result = run_tool("train", tiny_recipe, "--mini", "--dry-run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "warm-up" in result.stdout and "backbone.stages.3.0.pwconv2.weight" in result.stdout
    assert not list(tmp_path.iterdir())


def test_one_image_a_process_is_too_few_for_batch_norm(tiny_recipe: Path, tmp_path: Path) -> None:
    options = ("--mini", "--images-per-gpu", 1, "--work-dir", tmp_path)
    fails(run_tool("train", tiny_recipe, *options), "--images-per-gpu 2")


def test_usage_errors_exit_2() -> None:
    assert run_tool("train", "upernet_convnext_t_ade20k", "--no-such-option").returncode == 2
    assert run_tool("test").returncode == 2
    for option, value in (("--mini-iters", "0"), ("--seed", "-1"), ("--seed", "abc"), ("--images-per-gpu", "0")):
        assert run_tool("train", "upernet_convnext_t_ade20k", option, value).returncode == 2, option
    for name in ("train", "test", "benchmark", "leaderboard"):
        assert run_tool(name, "--help").returncode == 0

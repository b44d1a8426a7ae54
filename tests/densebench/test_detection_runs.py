"""Detectors under --amp, --resume and two processes, on the miniature with a backbone of a few channels."""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, DefaultScope

from densebench.checkpoint import read_checkpoint
from densebench.data import mini
from densebench.engine.amp import low_precision
from densebench.recipe import RunOptions, resolve
from densebench.results.records import read_records
from tests.densebench.tiny_detector import TINY_MASK_RCNN
from tests.running import run_command

ROOT = Path(__file__).resolve().parents[2]
RECIPE = "mask_rcnn_convnext_t_coco"
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
TINY: dict[str, Any] = {
    **TINY_MASK_RCNN,
    # Untrained scores are about 1 / 81.
    "model.test_cfg.rcnn.score_thr": 0.001,
}


def command(name: str, *arguments: object, **overrides: object) -> list[str]:
    options = [f"{key}={value}".replace(" ", "") for key, value in {**TINY, **overrides}.items()]
    return [str(ROOT / "tools" / f"{name}.py"), RECIPE, *map(str, arguments), "--cfg-options", *options]


def run(*arguments: str) -> str:
    result = run_command(list(arguments))
    assert result.returncode == 0, result.stderr
    return result.stdout


def losses(stdout: str) -> list[float]:
    return [float(number) for number in re.findall(r"iteration \d+/\d+  loss ([\d.]+)", stdout)]


@pytest.fixture(scope="module")
def model_and_images() -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """A tiny Mask R-CNN, two images to train on, and one to test on."""
    torch.manual_seed(0)
    config = resolve(RunOptions(RECIPE, mini=True, pretrained="none", cfg_options=TINY)).config
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(config.model)
        model.init_weights()
        train = DATASETS.build(config.train_dataloader.dataset)
        test = DATASETS.build(config.test_dataloader.dataset)
        return model, pseudo_collate([train[0], train[1]]), pseudo_collate([test[0]])


def test_losses_stay_fp32_under_amp(model_and_images: tuple[Any, dict[str, Any], dict[str, Any]]) -> None:
    model, images, _ = model_and_images
    model.train()
    data = model.data_preprocessor(images, training=True)
    total = {}
    for name in ("fp32", "bf16"):
        torch.manual_seed(1)  # of the sampled boxes
        if name == "bf16":
            with low_precision(model, torch.bfloat16):
                found = model(**data, mode="loss")
        else:
            found = model(**data, mode="loss")
        values = [
            value
            for key, entry in found.items()
            if "loss" in key
            for value in ([entry] if torch.is_tensor(entry) else entry)
        ]
        assert all(value.dtype == torch.float32 for value in values)
        total[name] = sum(values)
    total["bf16"].backward()
    assert total["bf16"].item() != total["fp32"].item()
    assert total["bf16"].item() == pytest.approx(total["fp32"].item(), rel=0.02)


def test_boxes_stay_fp32_under_amp_and_masks_are_pasted(
    model_and_images: tuple[Any, dict[str, Any], dict[str, Any]],
) -> None:
    model, _, images = model_and_images
    model.eval()
    with torch.no_grad(), low_precision(model, torch.bfloat16):
        (sample,) = model.test_step(images)
    found = sample.pred_instances
    assert len(found) == len(found.masks) == 10
    assert all(tuple(mask["size"]) == sample.ori_shape for mask in found.masks)
    assert found.bboxes.dtype == found.scores.dtype == torch.float32
    assert not torch.equal(found.bboxes, found.bboxes.bfloat16().float())


@pytest.mark.slow
def test_two_processes_learn_and_test_as_one(tmp_path: Path) -> None:
    fast = {"optim_wrapper.optimizer.lr": 2e-3, "default_hooks.logger.interval": 1}
    options = ("--mini", "--seed", 0, "--work-dir", tmp_path, "--launcher", "pytorch")
    found = losses(run(*TORCHRUN, *command("train", *options, "--mini-iters", 30, **fast)))
    assert len(found) >= 3 and found[-1] < 0.8 * found[0], found

    # 23 images: one of the processes gets one twice.
    odd = {"test_dataloader.dataset.indices": 23}
    options = (tmp_path / "iter_30.pth", "--mini", "--work-dir", tmp_path)
    run(*TORCHRUN, *command("test", *options, "--launcher", "pytorch", **odd))
    run(sys.executable, *command("test", *options, **odd))
    (two, one), problems = read_records([tmp_path])
    assert not problems and (two.provenance["world_size"], one.provenance["world_size"]) == (2, 1)
    assert two.provenance["num_images"] == one.provenance["num_images"] == 23
    for name, value in one.metrics.items():
        assert two.metrics[name] == (None if value is None else pytest.approx(value, abs=1e-6)), name
    assert two.per_image is not None and one.per_image is not None
    with np.load(two.per_image) as by_two, np.load(one.per_image) as by_one:
        assert len(set(by_two["images"])) == 23
        assert all(np.array_equal(by_two[key], by_one[key]) for key in ("images", "boxes", "scores", "category_ids"))


@pytest.mark.slow
def test_a_resumed_run_is_the_uninterrupted_run(tmp_path: Path) -> None:
    options = ("--data-root", mini.make("coco"), "--pretrained", "none", "--seed", 0, "--amp")
    small = {
        "train_long_side": 192,
        "train_short_sides": (64, 96),
        "crop_short_sides": (80, 100),
        "crop_size": (48, 96),
        "test_ss.scale": (128, 96),
        "schedule.epochs": 2,
        "schedule.steps.at": (1,),
        "schedule.warmup.iterations": 2,
        "total_batch": 10,
        "train_dataloader.num_workers": 0,
        "test_dataloader.num_workers": 0,
        "val_dataloader.dataset.indices": 2,
    }
    run(sys.executable, *command("train", *options, "--work-dir", tmp_path / "whole", **small))
    parts = tmp_path / "parts"
    run(sys.executable, *command("train", *options, "--work-dir", parts, **small, **{"train_cfg.max_epochs": 1}))
    assert [path.name for path in parts.glob("*.pth")] == ["epoch_1.pth"]
    assert "resuming from iteration" in run(
        sys.executable, *command("train", *options, "--work-dir", parts, "--resume", **small)
    )
    expected, found = (read_checkpoint(folder / "epoch_2.pth")["state_dict"] for folder in (tmp_path / "whole", parts))
    assert all(torch.equal(found[name], expected[name]) for name in expected)

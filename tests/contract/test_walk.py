"""Every config trains: one iteration and a validation on the miniature, with the model and heads of the recipe."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from densebench.cost.count import build_for_counting, params_m
from densebench.recipe import CONFIG_FOLDER, RunOptions, resolve

MAX_PARAMS_M = 150
MAX_MEMORY_GIB = 16
# Over 150 M parameters; run once by hand: a step of the largest takes 40 s and more than 10 GiB.
LARGE = (
    "cascade_mask_rcnn_convnext_l_coco_in22k",
    "cascade_mask_rcnn_convnext_xl_coco_in22k",
    "cascade_mask_rcnn_replknet_31l_coco_in22k",
    "cascade_mask_rcnn_replknet_xl_coco_megdata73m",
    "cascade_mask_rcnn_swin_l_coco_in22k",
    "mask_rcnn_convnext_l_coco",
    "mask_rcnn_convnextv2_huge_coco_fcmae",
    "mask_rcnn_convnextv2_large_coco_fcmae",
    "upernet_convnext_l_ade20k_in22k",
    "upernet_convnext_xl_ade20k_in22k",
    "upernet_convnextv2_huge_ade20k_fcmae",
    "upernet_convnextv2_huge_ade20k_fcmae_in22k",
    "upernet_convnextv2_large_ade20k_fcmae",
    "upernet_replknet_31l_ade20k_in22k",
    "upernet_replknet_xl_ade20k_megdata73m",
    "upernet_swin_l_ade20k_in22k",
)
NAMES = sorted(file.stem for file in CONFIG_FOLDER.glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name not in LARGE])
def test_a_config_trains_on_the_miniature(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    tool = CONFIG_FOLDER.parent / "tools" / "train.py"
    output = tmp_path / "output.txt"
    start = time.monotonic()
    with output.open("wb") as file:
        process = os.posix_spawn(
            sys.executable,
            [sys.executable, str(tool), name, "--mini", "--mini-iters", "1", "--work-dir", str(tmp_path)],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, file.fileno(), 1), (os.POSIX_SPAWN_DUP2, file.fileno(), 2)],
        )
        _, status, usage = os.wait4(process, 0)
    record_property("seconds", round(time.monotonic() - start, 1))
    memory_gib = usage.ru_maxrss / 2**20  # KiB on Linux
    record_property("memory_gib", round(memory_gib, 2))
    text = output.read_text()
    assert os.waitstatus_to_exitcode(status) == 0, text
    assert "loss nan" not in text and "validation: " in text, text
    assert (tmp_path / "iter_1.pth").is_file()
    assert memory_gib < MAX_MEMORY_GIB


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_only_large_models_are_left_out(name: str) -> None:
    recipe = resolve(RunOptions(name, pretrained="none"), with_data=False)
    assert params_m(build_for_counting(recipe.config.model)) > MAX_PARAMS_M

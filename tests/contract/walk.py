"""What the walk over the configs does with each: one iteration and a validation on the miniature, the recipe's model.

Of the configs of one method, backbone family and data set the walk takes one: others differ in width, depth, starting
weights and schedule. `DENSEBENCH_WALK=all` takes all of them. The walk is in two files, so that two processes share it.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from densebench.recipe import CONFIG_FOLDER

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
SMALLER = tuple(name for name in NAMES if name not in LARGE)
# Method, family of the backbone, data set: ("mask_rcnn", "resnet", "coco").
FAMILY = re.compile(
    r"^(mask_rcnn|cascade_mask_rcnn|fcos|upernet|deeplabv3plus)_(convnextv2|mobilenetv2|[a-z]+)[^_]*_"
    r"(?:.*_)?(coco|ade20k|cityscapes|folder)(?:_|$)"
)


def walked() -> list[str]:
    """The configs that are tried."""
    if os.environ.get("DENSEBENCH_WALK") == "all":
        return list(SMALLER)
    last: dict[tuple[str | None, ...], str] = {}  # by name the last of a family is a small one: t, tiny, 50
    for name in SMALLER:
        found = FAMILY.search(name)
        assert found is not None, name
        last[found.groups()] = name
    return list(last.values())


def trains_on_the_miniature(name: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Trains as a user does; notes seconds and memory in the test's report."""
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
    assert "warning" not in text.lower(), text
    assert "loss nan" not in text and "validation: " in text, text
    (tmp_path / "iter_1.pth").unlink()  # half a gigabyte each
    assert memory_gib < MAX_MEMORY_GIB

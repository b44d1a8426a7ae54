"""Which data a run uses: the user's, checked before anything is built, or a generated miniature."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from densebench.data import cityscapes, coco, mini
from densebench.data.check import require_split
from densebench.data.classes import read_classes
from densebench.errors import DensebenchError


@dataclass(frozen=True)
class Dataset:
    """The data of a run; `arguments` go to the data set class of the recipe."""

    layout: str
    root: Path
    num_classes: int
    arguments: dict[str, Any]


def locate(description: dict[str, Any], data_root: str | None, use_mini: bool) -> Dataset:
    """The data of a recipe: at `data_root` if given, else a miniature if asked for, else where the recipe says.

    Raises:
        DensebenchError: the data is not there, is empty, or its images and labels do not pair; Cityscapes' training
            labels, made here where they are missing, cannot be.
    """
    layout = description["dataset"]
    if data_root is not None:
        root = Path(data_root)
    elif use_mini:
        root = mini.make(layout)
    elif description.get("data_root"):
        root = Path(description["data_root"])
    else:
        raise DensebenchError(
            f"A recipe of the data set '{layout}' needs --data-root D, the folder with your data; "
            '--mini runs without any. The folder\'s layout is described in README.md, "Your own data".'
        )
    if layout == "cityscapes":
        cityscapes.write_missing_train_ids(root)
    for split in ("train", "val"):
        split_files(layout, root, split)
    num_classes = len(read_classes(root)[0]) if layout == "folder" else description["num_classes"]
    return Dataset(layout, root, num_classes, {"data_root": str(root)})


def split_files(layout: str, root: Path, split: str) -> tuple[Path, ...]:
    """The files of a split ("train" or "val"), all there; their contents are not read.

    Raises:
        DensebenchError: something is missing, empty, or does not pair.
    """
    if layout == coco.LAYOUT:
        return coco.require_files(root, split)
    files = require_split(layout, root, split)
    return (*files.images, *files.labels)

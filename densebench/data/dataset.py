"""Which data a run uses: the user's, checked before anything is built, or a generated miniature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from densebench.data import cityscapes, coco, mini
from densebench.data.annotation_check import require_same_categories
from densebench.data.check import require_split
from densebench.data.classes import DEFAULT_IGNORE_VALUE, read_classes
from densebench.errors import DensebenchError

_COCO_LAYOUTS = (coco.LAYOUT, coco.FOLDER_LAYOUT)


@dataclass(frozen=True)
class Dataset:
    """The data of a run; `arguments` go to the data set class of the recipe."""

    layout: str
    root: Path
    num_classes: int
    arguments: dict[str, Any]
    is_generated: bool  # of synthetic scenes, whether under --mini or written by tools/prepare_data.py


def locate(description: dict[str, Any], data_root: str | None, use_mini: bool) -> Dataset:
    """The data of a recipe: at `data_root` if given, else a miniature if asked for, else where the recipe says.

    Raises:
        DensebenchError: the data is not there, is empty, or its images and labels do not pair; Cityscapes' training
            labels, made here where they are missing, cannot be.
    """
    layout = layout_of(description)
    if data_root is not None:
        root = Path(data_root)
    elif use_mini:
        root = mini.make(layout)
    elif description.get("data_root"):
        root = Path(description["data_root"])
    else:
        raise DensebenchError(
            f"A recipe of the data set '{description['dataset']}' needs --data-root D, the folder with your data; "
            '--mini runs without any. The folder\'s layout is described in README.md, "Your own data".'
        )
    if layout == "cityscapes":
        cityscapes.write_missing_train_ids(root)
    for split in ("train", "val"):
        split_files(layout, root, split)
    num_classes = description["num_classes"]
    arguments: dict[str, Any] = {"data_root": str(root)}
    if layout in _COCO_LAYOUTS:
        arguments["with_masks"] = needs_masks(description)
    if layout == coco.FOLDER_LAYOUT:
        arguments["classes"] = list(read_categories(root).values())
        num_classes = len(arguments["classes"])
    elif layout == "folder":
        num_classes = len(read_classes(root)[0])
    return Dataset(layout, root, num_classes, arguments, mini.is_generated(root))


def layout_of(description: Mapping[str, Any]) -> str:
    """The layout of a recipe's files: that of its data set, but where the recipe names one."""
    layout: str = description.get("layout", description["dataset"])
    return layout


def needs_masks(description: Mapping[str, Any]) -> bool:
    """Whether a detection recipe learns masks: whether its model has a mask head."""
    return bool((description["model"].get("roi_head") or {}).get("mask_head"))


def read_categories(root: Path) -> dict[int, str]:
    """Category id -> name of one's own data in COCO's format, in the order of the ids and of the model's classes.

    Raises:
        DensebenchError: an annotation file cannot be read, or the two splits have other categories.
    """
    files = [coco.annotation_file(root, split) for split in ("train", "val")]
    train, val = map(coco.read_annotations, files)
    return require_same_categories(train, val, files[1])


def require_labelled_pixels(layout: str, root: Path, split: str) -> None:
    """Refuse a split of segmentation data on which nothing can be learnt or measured.

    Labels are read until one has a labelled pixel, which is the first in any useful data set. Those that cannot be
    read end the search; the loading names them.

    Raises:
        DensebenchError: no label of the split has a pixel of any class.
    """
    if layout in _COCO_LAYOUTS:
        return
    labels = require_split(layout, root, split).labels
    unlabelled = unlabelled_values(layout, root)
    for path in labels:
        try:
            with Image.open(path) as picture:
                values = set(np.unique(np.asarray(picture)).tolist())
        except (OSError, SyntaxError, ValueError):
            return
        if values - unlabelled:
            return
    raise DensebenchError(
        f"no labelled pixel in the {len(labels)} labels in {labels[0].parent}: all are "
        f"{' or '.join(map(str, sorted(unlabelled)))}\nlabel some of them, or correct the ignore value"
    )


def unlabelled_values(layout: str, root: Path) -> set[int]:
    """The values in the label files of a layout that belong to no class."""
    if layout == "folder":
        return {read_classes(root)[1], DEFAULT_IGNORE_VALUE}
    return {0, DEFAULT_IGNORE_VALUE} if layout == "ade20k" else {DEFAULT_IGNORE_VALUE}


def split_files(layout: str, root: Path, split: str) -> tuple[Path, ...]:
    """The files of a split ("train" or "val"), all there; their contents are not read.

    Raises:
        DensebenchError: something is missing, empty, or does not pair.
    """
    if layout in _COCO_LAYOUTS:
        return coco.require_files(root, split, layout)
    files = require_split(layout, root, split)
    return (*files.images, *files.labels)

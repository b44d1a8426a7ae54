"""COCO's data set, and one's own in its format, with the annotations checked when they are read."""

from __future__ import annotations

import contextlib
import io
import logging
from functools import partial
from pathlib import Path
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmengine.logging import print_log
from mmengine.registry import DATASETS

from densebench.data.annotation_check import (
    find_problems,
    missing_categories,
    missing_images,
    require_usable,
    warning_text,
)
from densebench.data.classes import make_palette
from densebench.data.coco import places, read_annotations


@DATASETS.register_module()
class CheckedCocoDataset(CocoDataset):
    """mmdet's CocoDataset, which leaves out without a word what it cannot use; here that is counted and logged.

    `with_masks` says that the method needs a mask with every object. `options` are those of CocoDataset.

    Raises DensebenchError where the annotation file cannot be read, lacks categories of the model, lists images that
    are not there, or holds what would crash the run or spoil the metric (densebench.data.annotation_check).
    """

    def __init__(self, *args: Any, with_masks: bool = True, **options: Any) -> None:
        self.with_masks = with_masks
        super().__init__(*args, **options)

    def load_data_list(self) -> list[dict[str, Any]]:
        """One entry per image."""
        file = Path(self.ann_file)
        content = read_annotations(file)
        findings = find_problems(content, is_tested=self.test_mode, with_masks=self.with_masks)
        classes = self.metainfo["classes"]
        images = missing_images(content, Path(self.data_prefix["img"]))
        require_usable([*findings, *images, *missing_categories(content, classes)], file)
        by_name = {category["name"]: category for category in content["categories"]}
        # mmdet numbers the classes in the order of the file.
        content["categories"] = [by_name[name] for name in classes]
        warning = warning_text(findings, file)
        if warning is not None:
            print_log(warning, logger="current", level=logging.WARNING)
        # mmdet would read the file a second time.
        self.COCOAPI = partial(_indexed, content)
        entries: list[dict[str, Any]] = super().load_data_list()
        del self.COCOAPI
        return entries


@DATASETS.register_module()
class FolderCocoDataset(CheckedCocoDataset):
    """One's own data in COCO's format: a split ("train" or "val") of the layout `coco_folder` (densebench.data.coco).

    `classes` are the names of the categories in the order of the model's classes.
    """

    def __init__(self, data_root: str, split: str, classes: list[str], **options: Any) -> None:
        found = places(Path(data_root), split)
        super().__init__(
            ann_file=str(found.annotations),
            data_prefix={"img": str(found.images)},
            metainfo={"classes": tuple(classes), "palette": [tuple(colour) for colour in make_palette(len(classes))]},
            **options,
        )


def _indexed(content: dict[str, Any], file: str) -> COCO:
    index = COCO()
    index.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):
        index.createIndex()
    index.img_ann_map, index.cat_img_map = index.imgToAnns, index.catToImgs
    return index

"""COCO's data set with its annotations checked when they are read."""

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

from densebench.data.coco import find_skipped, read_annotations, require_images, skipped_text
from densebench.errors import DensebenchError


@DATASETS.register_module()
class CheckedCocoDataset(CocoDataset):
    """mmdet's CocoDataset, which leaves out without a word what it cannot use; here that is counted and logged.

    Raises DensebenchError where the annotation file cannot be read, lacks categories of the model, or lists images
    that are not there.
    """

    def load_data_list(self) -> list[dict[str, Any]]:
        """One entry per image."""
        file = Path(self.ann_file)
        content = read_annotations(file)
        require_images(content, file, Path(self.data_prefix["img"]))
        names = {category["name"] for category in content["categories"]}
        missing = [name for name in self.metainfo["classes"] if name not in names]
        if missing:
            raise DensebenchError(f"{file} lacks {len(missing)} categories of the model: {', '.join(missing[:5])}, ...")
        skipped = find_skipped(content)
        if skipped:
            print_log(skipped_text(skipped, file), logger="current", level=logging.WARNING)
        # mmdet would read the file a second time.
        self.COCOAPI = partial(_indexed, content)
        entries: list[dict[str, Any]] = super().load_data_list()
        del self.COCOAPI
        return entries


def _indexed(content: dict[str, Any], file: str) -> COCO:
    index = COCO()
    index.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):
        index.createIndex()
    index.img_ann_map, index.cat_img_map = index.imgToAnns, index.catToImgs
    return index

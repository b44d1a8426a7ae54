"""The annotated objects of a COCO split as arrays, made once a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as run_lengths

from densebench.data.coco import read_annotations
from densebench.errors import DensebenchError


@dataclass(frozen=True)
class Truth:
    """The N objects of the evaluated categories in I images; all in the order of the file."""

    file: Path
    image_ids: NDArray[np.int64]  # (I), ascending
    image_sizes: NDArray[np.int64]  # (I, 2): height, width
    category_ids: tuple[int, ...]  # of each class index
    image: NDArray[np.int64]  # (N), index into image_ids
    category: NDArray[np.int64]  # (N), index into category_ids
    boxes: NDArray[np.float64]  # (N, 4): left, top, width, height
    areas: NDArray[np.float64]  # (N), in square pixels, of the mask
    is_crowd: NDArray[np.bool_]  # (N), regions of many objects: found or not, they do not count
    segmentations: tuple[Any, ...]  # (N), as the file has them

    @cached_property
    def masks(self) -> list[dict[str, Any]]:
        """The objects' masks as run lengths (N).

        Raises:
            DensebenchError: an object has none.
        """
        sizes = self.image_sizes[self.image].tolist()
        return [self._mask(segmentation, *size) for segmentation, size in zip(self.segmentations, sizes, strict=True)]

    def images_of(self, image_ids: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Indices of images by their ids.

        Raises:
            DensebenchError: the file does not list one of them.
        """
        wanted = np.asarray(image_ids, np.int64)
        unknown = np.setdiff1d(wanted, self.image_ids)
        if len(unknown):
            raise DensebenchError(
                f"{len(unknown)} of the tested images are not listed in {self.file} (id {unknown[0]}, ...): "
                "test the split that the annotation file belongs to"
            )
        return np.searchsorted(self.image_ids, wanted)

    def _mask(self, segmentation: Any, height: int, width: int) -> dict[str, Any]:
        if isinstance(segmentation, list) and segmentation:  # polygons, which together are one object
            mask: dict[str, Any] = run_lengths.merge(run_lengths.frPyObjects(segmentation, height, width))
            return mask
        if isinstance(segmentation, Mapping):
            is_packed = not isinstance(segmentation["counts"], list)
            return dict(segmentation) if is_packed else run_lengths.frPyObjects(segmentation, height, width)
        raise DensebenchError(
            f"{self.file} has objects without a 'segmentation', but the model predicts masks: "
            "use annotations with masks, or a detector without them"
        )


def read_truth(file: Path, classes: Sequence[str]) -> Truth:
    """The objects of the model's classes in an instances_*.json.

    Raises:
        DensebenchError: the file cannot be read, or lacks classes of the model.
    """
    content = read_annotations(file)
    category_ids = ids_of(content, classes, file)
    images = sorted(content["images"], key=lambda image: int(image["id"]))
    image_index = {image["id"]: index for index, image in enumerate(images)}
    category_index = {number: index for index, number in enumerate(category_ids)}
    entries = [
        entry
        for entry in content["annotations"]
        if entry["image_id"] in image_index and entry["category_id"] in category_index
    ]
    return Truth(
        file=file,
        image_ids=np.array([image["id"] for image in images], np.int64),
        image_sizes=np.array([(image["height"], image["width"]) for image in images], np.int64).reshape(-1, 2),
        category_ids=category_ids,
        image=np.array([image_index[entry["image_id"]] for entry in entries], np.int64),
        category=np.array([category_index[entry["category_id"]] for entry in entries], np.int64),
        boxes=np.array([entry["bbox"] for entry in entries], np.float64).reshape(-1, 4),
        areas=np.array([entry["area"] for entry in entries], np.float64),
        is_crowd=np.array([bool(entry["iscrowd"]) for entry in entries], np.bool_),
        segmentations=tuple(entry.get("segmentation") for entry in entries),
    )


def ids_of(content: Mapping[str, Any], classes: Sequence[str], file: Path) -> tuple[int, ...]:
    """The category id of each class index.

    Raises:
        DensebenchError: the annotation file lacks classes of the model.
    """
    ids = {category["name"]: category["id"] for category in content["categories"]}
    missing = [name for name in classes if name not in ids]
    if missing:
        raise DensebenchError(f"{file} lacks {len(missing)} categories of the model: {', '.join(missing[:5])}")
    return tuple(ids[name] for name in classes)

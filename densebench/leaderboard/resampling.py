"""From a record's per-image parts to its metrics on every resample of the test images."""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densebench.evaluation.average_precision import average_precisions
from densebench.evaluation.coco_accumulation import matches_of
from densebench.evaluation.coco_matching import THRESHOLDS
from densebench.leaderboard.bootstrap import (
    Values,
    class_ious,
    mean,
    resample_weights,
)

# What is recomputed from the parts agrees with the record to this; more means that they are of different tests.
TOLERANCE_PERCENT = 1e-6
AREA_SUFFIXES = ("", "s", "m", "l")  # of AP over all, small, medium and large objects


@dataclass(frozen=True)
class Resampled:
    """The metrics of one test in percent, in row 0 as measured and in the R rows below on resamples of its images.

    `figures`: metric -> (1 + R,); `parts`: metric -> {class: (1 + R,)}, of which the metric is the mean.
    """

    images: tuple[str, ...]  # in the order in which they are drawn
    figures: Mapping[str, Values]
    parts: Mapping[str, Mapping[str, Values]]


@functools.lru_cache(maxsize=256)
def resampled(path: Path, num_resamples: int, seed: int = 0) -> Resampled:
    """The metrics of the test whose per-image parts are in `path`.

    Tests of the same images are drawn alike, in whatever order they were tested.

    Raises:
        ValueError: the file is not what a test wrote.
    """
    arrays = _read(path)
    try:
        if "intersections" in arrays:
            return _segmentation(arrays, num_resamples, seed)
        if "match_detection" in arrays:
            return _detection(arrays, num_resamples, seed)
    except (KeyError, IndexError) as error:
        raise ValueError(f"arrays are missing, or do not fit together: {error}") from error
    raise ValueError("neither pixels of classes nor matches of detections")


def _segmentation(arrays: Mapping[str, NDArray[Any]], num_resamples: int, seed: int) -> Resampled:
    images, intersections, unions = arrays["images"], arrays["intersections"], arrays["unions"]
    classes = [str(name) for name in arrays["classes"]]
    if intersections.shape != (len(images), len(classes)) or unions.shape != intersections.shape:
        raise ValueError(
            f"expected pixels of {len(images)} images and {len(classes)} classes, found {intersections.shape}"
        )
    order = np.argsort(images, kind="stable")
    ious = class_ious(_draws(len(images), num_resamples, seed), intersections[order], unions[order])  # (1 + R, C)
    return Resampled(
        tuple(str(image) for image in images[order]),
        {"mIoU": mean(ious)},
        {"mIoU": {name: ious[:, index] for index, name in enumerate(classes)}},
    )


def _detection(arrays: Mapping[str, NDArray[Any]], num_resamples: int, seed: int) -> Resampled:
    order = np.argsort(arrays["image_ids"], kind="stable")
    weights = _draws(len(order), num_resamples, seed)
    classes = [str(name) for name in arrays["classes"]]
    figures: dict[str, Values] = {}
    parts: dict[str, dict[str, Values]] = {}
    for kind in ("bbox", "segm"):
        if f"{kind}_matched" not in arrays:
            continue
        matches = matches_of(arrays, kind)
        for area, suffix in enumerate(AREA_SUFFIXES):
            precisions = 100 * average_precisions(weights, matches.outcomes(area), len(THRESHOLDS))  # (1 + R, C, T)
            figures[f"{kind}_AP{suffix}"] = mean(precisions)
            if area == 0:
                figures |= {f"{kind}_AP{name}": mean(precisions[:, :, t]) for name, t in ((50, 0), (75, 5))}
                by_class = np.stack([mean(precisions[:, index]) for index in range(len(classes))])
                parts[f"{kind}_AP"] = dict(zip(classes, by_class, strict=True))
    images = tuple(str(image) for image in arrays["images"][order])
    return Resampled(images, figures, parts)


def _draws(num_images: int, num_resamples: int, seed: int) -> NDArray[np.int32]:
    once = np.ones((1, num_images), np.int32)
    return np.concatenate([once, resample_weights(num_images, num_resamples, seed)])


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"the file cannot be read: {error}") from error
    missing = [name for name in ("images", "classes") if name not in arrays]
    if missing or len(arrays["images"]) == 0:
        raise ValueError(f"expected images and classes, found {', '.join(arrays) or 'nothing'}")
    return arrays

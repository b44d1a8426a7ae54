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

from densebench.leaderboard.bootstrap import Values, class_ious, mean, resample_weights

# What is recomputed from the parts agrees with the record to this; more means that they are of different tests.
TOLERANCE_PERCENT = 1e-6


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
    if "intersections" in arrays:
        return _segmentation(arrays, num_resamples, seed)
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

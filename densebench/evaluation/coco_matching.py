"""Which detections match which objects: COCO's rule, for ten thresholds of overlap and four ranges of area at once.

COCO's evaluation (https://cocodataset.org/#detection-eval) takes an image's detections of a category in the order of
their scores; each takes the free object that it overlaps most, if by the threshold. Objects outside the range of area,
and crowds, are ignored, and so is what matches them; crowds may match many times.

The matches, unlike the numbers made of them, belong to single images: kept with a record, they tell AP for any choice
of images (densebench.evaluation.coco_accumulation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pycocotools import mask as run_lengths

from densebench.evaluation.coco_truth import Truth

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Bits = NDArray[np.uint64]

THRESHOLDS = np.linspace(0.5, 0.95, 10)
# All, small, medium, large; in square pixels.
AREA_RANGES = np.array([(0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10)])
MAX_DETECTIONS = 100  # of an image and category


@dataclass(frozen=True)
class Detections:
    """D detections in images that have been tested, found or not."""

    image: Indices  # (D), index into the truth's images
    category: Indices  # (D), index into the truth's categories
    scores: Floats  # (D)
    boxes: Floats  # (D, 4): left, top, right, bottom
    masks: Sequence[Mapping[str, Any]]  # (D) run lengths, or none


@dataclass(frozen=True)
class Ranking:
    """The M detections that count: by category, image and falling score, at most 100 of an image and category."""

    detection: Indices  # (M), index into the detections
    starts: Indices  # (P + 1): where a pair of image and category begins
    # (N): the objects by category and image; and where those of a pair of detections begin and end, (P) each
    truth: Indices
    truth_starts: Indices
    truth_ends: Indices


def ranked(detections: Detections, truth: Truth) -> Ranking:
    """Detections and objects brought together by category and image."""
    num_images = len(truth.image_ids)
    keys = detections.category * num_images + detections.image
    order = np.lexsort((-detections.scores, keys))  # stable: equal scores stay in the order of the detector
    order = order[rank_in_run(keys[order]) < MAX_DETECTIONS]
    pairs, starts = np.unique(keys[order], return_index=True)
    truth_keys = truth.category * num_images + truth.image
    truth_order = np.argsort(truth_keys, kind="stable")
    bounds = np.searchsorted(truth_keys[truth_order], np.stack([pairs, pairs + 1]))  # (2, P)
    return Ranking(
        detection=order,
        starts=np.append(starts, len(order)).astype(np.int64),
        truth=truth_order,
        truth_starts=bounds[0],
        truth_ends=bounds[1],
    )


def match_boxes(detections: Detections, truth: Truth, ranking: Ranking) -> dict[str, Bits]:
    """Matches by the boxes' overlap; see `_match`."""
    corners = detections.boxes[ranking.detection]
    sides = corners[:, 2:] - corners[:, :2]
    boxes = np.concatenate([corners[:, :2], sides], axis=1)  # left, top, width, height
    offsets = _offsets(ranking)
    overlaps = np.empty(offsets[-1])
    _box_overlaps(
        boxes, truth.boxes[ranking.truth], truth.is_crowd[ranking.truth], *_bounds(ranking), offsets, overlaps
    )
    return _match(overlaps, offsets, sides.prod(axis=1), truth, ranking)


def match_masks(detections: Detections, truth: Truth, ranking: Ranking) -> dict[str, Bits]:
    """Matches by the masks' overlap; see `_match`."""
    masks = [detections.masks[index] for index in ranking.detection]
    offsets = _offsets(ranking)
    overlaps = np.empty(offsets[-1])
    for pair in np.flatnonzero(np.diff(offsets)):
        found = masks[ranking.starts[pair] : ranking.starts[pair + 1]]
        objects = ranking.truth[ranking.truth_starts[pair] : ranking.truth_ends[pair]]
        expected = [truth.masks[index] for index in objects]
        crowds = truth.is_crowd[objects].astype(np.uint8)
        overlaps[offsets[pair] : offsets[pair + 1]] = run_lengths.iou(
            found, expected, crowds
        ).ravel()  # (found, objects)
    # One by one: on 256 masks and more pycocotools' area() fails with numpy 2.
    areas = np.array([run_lengths.area(mask) for mask in masks], np.float64)
    return _match(overlaps, offsets, areas, truth, ranking)


def truth_counts(truth: Truth, images: Indices) -> dict[str, NDArray[Any]]:
    """How many objects count in each of G pairs of image and category that has any, by range of area.

    `truth_image` and `truth_category` (G), indices; `truth_counts` (G, 4).
    """
    tested = np.isin(truth.image, images)
    areas = truth.areas[tested, None]
    counts = ~truth.is_crowd[tested, None] & (areas >= AREA_RANGES[:, 0]) & (areas <= AREA_RANGES[:, 1])  # (N, 4)
    keys, pair = np.unique(truth.category[tested] * len(truth.image_ids) + truth.image[tested], return_inverse=True)
    totals = np.zeros((len(keys), len(AREA_RANGES)), np.int32)
    np.add.at(totals, pair, counts)
    category, image = np.divmod(keys, len(truth.image_ids))
    return {"truth_image": image, "truth_category": category, "truth_counts": totals}


def rank_in_run(keys: Indices) -> Indices:
    """(M) sorted keys -> how many equal ones come before each."""
    _, starts, lengths = np.unique(keys, return_index=True, return_counts=True)
    return np.arange(len(keys)) - np.repeat(starts, lengths)


def _match(overlaps: Floats, offsets: Indices, areas: Floats, truth: Truth, ranking: Ranking) -> dict[str, Bits]:
    """`matched` and `ignored` (M): bit 10 a + t of each tells of range of area a and threshold t."""
    matched, ignored = np.zeros(len(areas), np.uint64), np.zeros(len(areas), np.uint64)
    _greedy_matches(
        overlaps,
        offsets,
        areas,
        truth.areas[ranking.truth],
        truth.is_crowd[ranking.truth],
        *_bounds(ranking),
        THRESHOLDS,
        AREA_RANGES,
        matched,
        ignored,
    )
    return {"matched": matched, "ignored": ignored}


def _bounds(ranking: Ranking) -> tuple[Indices, Indices, Indices]:
    return ranking.starts, ranking.truth_starts, ranking.truth_ends


def _offsets(ranking: Ranking) -> Indices:
    """(P + 1): where the overlaps of a pair begin, detections x objects in a row."""
    sizes = np.diff(ranking.starts) * (ranking.truth_ends - ranking.truth_starts)
    return np.concatenate([[0], np.cumsum(sizes)])


@njit(cache=True)
def _box_overlaps(
    boxes: Floats,
    truth_boxes: Floats,
    is_crowd: NDArray[np.bool_],
    starts: Indices,
    truth_starts: Indices,
    truth_ends: Indices,
    offsets: Indices,
    overlaps: Floats,
) -> None:
    """Intersection over union; over the detection's own area with a crowd. In the operations' order of pycocotools."""
    for pair in range(len(offsets) - 1):
        place = offsets[pair]
        for detection in range(starts[pair], starts[pair + 1]):
            left, top, width, height = boxes[detection]
            for index in range(truth_starts[pair], truth_ends[pair]):
                x, y, w, h = truth_boxes[index]
                across = min(width + left, w + x) - max(left, x)
                down = min(height + top, h + y) - max(top, y)
                overlap = 0.0
                if across > 0 and down > 0:
                    shared = across * down
                    own = width * height
                    overlap = shared / (own if is_crowd[index] else own + w * h - shared)
                overlaps[place] = overlap
                place += 1


@njit(cache=True)
def _greedy_matches(
    overlaps: Floats,
    offsets: Indices,
    areas: Floats,
    truth_areas: Floats,
    is_crowd: NDArray[np.bool_],
    starts: Indices,
    truth_starts: Indices,
    truth_ends: Indices,
    thresholds: Floats,
    ranges: Floats,
    matched: Bits,
    ignored: Bits,
) -> None:
    """The matching itself, into `matched` and `ignored`; an object that counts is preferred to one that does not."""
    for pair in range(len(offsets) - 1):
        first, number = truth_starts[pair], truth_ends[pair] - truth_starts[pair]
        order, out_of_range = np.empty(number, np.int64), np.empty(number, np.bool_)
        taken = np.empty(number, np.bool_)
        for area in range(len(ranges)):
            low, high = ranges[area]
            # Objects that count come first.
            place = 0
            for is_ignored in (False, True):
                for index in range(number):
                    truth_area = truth_areas[first + index]
                    out_of_range[index] = is_crowd[first + index] or truth_area < low or truth_area > high
                    if out_of_range[index] == is_ignored:
                        order[place] = index
                        place += 1
            for level in range(len(thresholds)):
                bit = np.uint64(1) << np.uint64(area * len(thresholds) + level)
                taken[:] = False
                for detection in range(starts[pair], starts[pair + 1]):
                    row = offsets[pair] + (detection - starts[pair]) * number
                    best, most = -1, min(thresholds[level], 1 - 1e-10)
                    for index in order:
                        if taken[index] and not is_crowd[first + index]:
                            continue
                        if best >= 0 and not out_of_range[best] and out_of_range[index]:
                            break
                        if overlaps[row + index] >= most:
                            best, most = index, overlaps[row + index]
                    if best >= 0:
                        taken[best] = True
                        matched[detection] |= bit
                        if out_of_range[best]:
                            ignored[detection] |= bit
                    elif areas[detection] < low or areas[detection] > high:
                        ignored[detection] |= bit

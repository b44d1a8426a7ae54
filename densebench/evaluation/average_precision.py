"""COCO's average precision, for a whole test and for any resample of its images, by one piece of code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

RECALLS = np.linspace(0, 1, 101)  # COCO averages the precision over these
EPSILON = float(np.spacing(1))  # what pycocotools adds to the number of detections

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Outcomes:
    """What became of D detections in one range of area; by category, best first, equal scores by image.

    Bit t of `matched` and `ignored` is for threshold t. The detections of an image and category are at most as many as
    the evaluation takes; images are numbered in the order of their ids, which decides between equal scores.
    """

    image: Indices  # (D), of the N images
    category: Indices  # (D), of the C categories
    tie: Indices  # (D), a number that those of one category, score and image share; rising
    matched: NDArray[np.uint64]  # (D)
    ignored: NDArray[np.uint64]  # (D)
    positives: Indices  # (N, C), the objects to be found


def ties(scores: NDArray[np.float64], image: Indices, category: Indices) -> tuple[Indices, Indices]:
    """(D) the order that `Outcomes` has, and (D) its `tie`, in this order."""
    order = np.lexsort((image, -scores, category))
    is_first = np.ones(len(order), bool)
    is_first[1:] = np.any([key[order[1:]] != key[order[:-1]] for key in (category, scores, image)], axis=0)
    return order, np.cumsum(is_first)


def average_precisions(weights: NDArray[Any], outcomes: Outcomes, num_thresholds: int) -> NDArray[np.float64]:
    """(R, N) how often each image counts -> (R, C, T) precision from 0 to 1; nan where a row has no object.

    COCO's accumulation, an image that counts twice being two images that follow each other.

    Raises:
        ValueError: more detections are matched than an image has objects.
    """
    # What is ignored at all thresholds counts in no row: of small objects' detections most.
    kept = outcomes.ignored != np.uint64((1 << num_thresholds) - 1)
    image, category = outcomes.image[kept].astype(np.int32), outcomes.category[kept]
    matched, ignored = (bits[kept].astype(np.uint16) for bits in (outcomes.matched, outcomes.ignored))
    _check_matches(image, category, matched & ~ignored, outcomes.positives, num_thresholds)
    starts = np.searchsorted(category, np.arange(outcomes.positives.shape[1] + 1))
    lengths = _run_lengths(outcomes.tie[kept])
    events, bounds = _events(matched | ignored, lengths, starts, num_thresholds)
    # Products of integers below 2**53 are exact in float64, where matrix products are fast.
    objects = (weights.astype(np.float64) @ outcomes.positives.astype(np.float64)).astype(np.int64)  # (R, C)
    accumulate = _rows if len(weights) == 1 else _rows_in_parallel  # one row needs no threads
    found: NDArray[np.float64] = accumulate(
        np.ascontiguousarray(weights, np.int32), image, matched, ignored, lengths, events, bounds, starts, objects
    )
    return found


def _check_matches(
    image: NDArray[np.int32], category: Indices, matched: NDArray[np.uint16], positives: Indices, num_thresholds: int
) -> None:
    some = matched > 0
    cells, place = np.unique(image[some] * positives.shape[1] + category[some], return_inverse=True)
    objects, matched = positives.ravel()[cells], matched[some]
    for threshold in range(num_thresholds):
        matches = np.bincount(place[matched >> threshold & 1 > 0], minlength=len(cells))
        if (matches > objects).any():
            raise ValueError("more detections are matched than there are objects to be found")


def _run_lengths(tie: Indices) -> NDArray[np.int32]:
    """(D): at the first of equal ones their number; not used at the others."""
    lengths = np.ones(len(tie), np.int32)
    firsts = np.flatnonzero(np.diff(tie, prepend=-1))
    lengths[firsts] = np.diff(np.append(firsts, len(tie)))
    return lengths


@njit(cache=True)
def _events(bits, lengths, starts, num_thresholds):  # type: ignore[no-untyped-def]
    """(E) firsts of ties with a matched or ignored detection, by threshold; (T, C + 1) where a category's begin."""
    events = np.empty(len(bits) * num_thresholds, np.int32)
    bounds = np.empty((num_thresholds, len(starts)), np.int64)
    number = 0
    for threshold in range(num_thresholds):
        for category in range(len(starts) - 1):
            bounds[threshold, category] = number
            index = starts[category]
            while index < starts[category + 1]:
                for tied in range(index, index + lengths[index]):
                    if (bits[tied] >> threshold) & 1:
                        events[number] = index
                        number += 1
                        break
                index += lengths[index]
        bounds[threshold, len(starts) - 1] = number
    return events[:number].copy(), bounds


@njit(cache=True)
def _rows(weights, image, matched, ignored, lengths, events, bounds, starts, objects):  # type: ignore[no-untyped-def]
    result = np.full((len(weights), len(starts) - 1, len(bounds)), np.nan)
    for row in range(len(weights)):
        _row(weights[row], image, matched, ignored, lengths, events, bounds, starts, objects[row], result[row])
    return result


@njit(parallel=True, cache=True)
def _rows_in_parallel(  # type: ignore[no-untyped-def]
    weights, image, matched, ignored, lengths, events, bounds, starts, objects
):
    result = np.full((len(weights), len(starts) - 1, len(bounds)), np.nan)
    for row in prange(len(weights)):
        _row(weights[row], image, matched, ignored, lengths, events, bounds, starts, objects[row], result[row])
    return result


@njit(cache=True)
def _row(  # type: ignore[no-untyped-def]
    weights, image, matched, ignored, lengths, events, bounds, starts, objects, result
):
    """(N), (D) x 4, (E), (T, C + 1), (C + 1), (C) -> (C, T), written to `result`."""
    num_thresholds, num_recalls = len(bounds), len(RECALLS)
    longest = 0
    for category in range(len(starts) - 1):
        longest = max(longest, starts[category + 1] - starts[category])
    drawn, needed, highest = np.empty(longest + 1, np.int32), np.empty(num_recalls, np.int64), np.empty(num_recalls)
    for category in range(len(starts) - 1):
        total = objects[category]
        if total == 0:
            continue
        for point in range(num_recalls):
            needed[point] = _objects_for(RECALLS[point], total)
        first = starts[category]
        drawn[0] = 0
        for index in range(first, starts[category + 1]):
            drawn[index - first + 1] = drawn[index - first] + weights[image[index]]
        for threshold in range(num_thresholds):
            # Only matched detections matter: between them precision falls and recall stays. What lies between
            # matched and ignored ones is missed as often as it was drawn.
            highest[:] = 0.0
            found, missed, done, reached = 0, 0, first, 0
            for place in range(bounds[threshold, category], bounds[threshold, category + 1]):
                index = events[place]
                missed += drawn[index - first] - drawn[done - first]
                weight, length = drawn[index - first + 1] - drawn[index - first], lengths[index]
                # Ties of one image come up in turn, once for each copy of the image.
                copies, step = (1, weight) if length == 1 else (weight, 1)
                for _ in range(copies):
                    for tied in range(index, index + length):
                        if (ignored[tied] >> threshold) & 1 or step == 0:
                            continue
                        if not (matched[tied] >> threshold) & 1:
                            missed += step
                            continue
                        found += step
                        while reached < num_recalls and needed[reached] <= found:
                            reached += 1
                        highest[reached - 1] = max(highest[reached - 1], found / (found + missed + EPSILON))
                done = index + length
            # Precision at a recall is the largest at this or a higher recall (COCO's interpolation).
            area, largest = 0.0, 0.0
            for point in range(num_recalls - 1, -1, -1):
                largest = max(largest, highest[point])
                area += largest
            result[category, threshold] = area / num_recalls


@njit(cache=True)
def _objects_for(recall, total):  # type: ignore[no-untyped-def]
    """The least number of `total` objects whose share, as a float, is `recall` at least."""
    number = int(np.ceil(recall * total))
    while number > 0 and (number - 1) / total >= recall:
        number -= 1
    while number / total < recall:
        number += 1
    return number

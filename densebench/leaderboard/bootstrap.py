"""Bootstrap over images: the metrics of many resamples of a test set, each accumulated exactly as the test itself.

A resample is a vector of weights, how often each image was drawn (Efron and Tibshirani, An Introduction to the
Bootstrap, ch. 6). Two models are compared on the same resamples, so that what both find hard cancels out (ch. 8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 1000  # percentiles at 2.5 and 97.5 are then good to about a tenth of the interval's width
CONFIDENCE_PERCENT = 95.0
# COCO averages the precision over these recalls.
RECALL_THRESHOLDS = np.linspace(0.0, 1.0, 101)
EPSILON = float(np.spacing(1))  # what pycocotools adds to the number of detections

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A value with the percentile interval of its resamples, all in the metric's unit."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """One model's value less another's on the same images; `p_value` is two-sided, for no difference."""

    value: float
    low: float
    high: float
    p_value: float

    @property
    def is_real(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Detections:
    """What COCO's evaluation says of the detections of one area range, enough to accumulate AP for any resample.

    `scores`, `image` (an index into the images) and `category` (an index into the categories): (D,);
    `matched` and `ignored`: (T, D), for each IoU threshold; `positives`: (N, C), the objects to be found.
    The detections of an image and category are at most as many as the evaluation takes (100), best first; images
    are numbered in the order of their ids, which decides between equal scores.
    """

    scores: NDArray[np.float64]
    image: NDArray[np.int64]
    category: NDArray[np.int64]
    matched: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    positives: NDArray[np.int64]


def resample_weights(num_images: int, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> NDArray[np.int32]:
    """(R, N): how often each of N images was drawn in each of R draws of N with replacement."""
    drawn = np.random.default_rng(seed).integers(0, num_images, (num_resamples, num_images))
    drawn += np.arange(num_resamples)[:, None] * num_images
    counts = np.bincount(drawn.ravel(), minlength=num_resamples * num_images)
    return counts.reshape(num_resamples, num_images).astype(np.int32)


def class_ious(weights: NDArray[Any], intersections: NDArray[Any], unions: NDArray[Any]) -> Values:
    """(R, N) weights and (N, C) pixels -> (R, C) IoU in percent; nan where a class does not occur in a resample."""
    # Products of integers below 2**53 are exact in float64, where matrix products are fast.
    draws = weights.astype(np.float64)
    intersection, union = draws @ intersections.astype(np.float64), draws @ unions.astype(np.float64)
    return 100 * np.divide(intersection, union, out=np.full_like(union, np.nan), where=union > 0)


def average_precisions(weights: NDArray[Any], detections: Detections) -> Values:
    """(R, N) weights -> (R, C, T) average precision in percent; nan where a resample has no object of a category.

    COCO's accumulation, an image drawn twice counting as two images that follow each other.

    Raises:
        ValueError: more detections are matched than an image has objects.
    """
    _check_matches(detections)
    order = np.lexsort((detections.image, -detections.scores, detections.category))
    num_categories = detections.positives.shape[1]
    starts = np.searchsorted(detections.category[order], np.arange(num_categories + 1))
    objects = weights.astype(np.float64) @ detections.positives.astype(np.float64)  # (R, C)
    # Per detection and threshold: 0 ignored, 1 matched, 2 false.
    outcome = np.where(detections.ignored, 0, np.where(detections.matched, 1, 2)).astype(np.uint8)
    ties, outcome = _lengths_of_ties(detections, order), np.ascontiguousarray(outcome[:, order])
    events, bounds = _events(outcome, ties, starts)
    return 100 * _accumulate(
        np.ascontiguousarray(weights, np.int32),
        np.ascontiguousarray(detections.image[order], np.int32),
        outcome,
        ties,
        events,
        bounds,
        starts.astype(np.int64),
        objects,
        RECALL_THRESHOLDS,
    )


def mean(values: Values) -> Values:
    """(R, ...) -> (R,): the mean of what is defined; nan where nothing is."""
    flat = values.reshape(len(values), -1)
    defined = ~np.isnan(flat)
    counts = defined.sum(axis=1)
    sums = np.where(defined, flat, 0.0).sum(axis=1)
    return np.divide(sums, counts, out=np.full(len(flat), np.nan), where=counts > 0)


def interval(value: float, resampled: Values) -> Interval:
    """A value with the percentiles of its resamples; resamples in which it is not defined do not count."""
    low, high = _percentiles(resampled)
    return Interval(value, low, high)


def difference(first: float, second: float, resampled_first: Values, resampled_second: Values) -> Difference:
    """The paired difference first - second; both sides are of the same resamples."""
    differences = resampled_first - resampled_second
    low, high = _percentiles(differences)
    differences = differences[~np.isnan(differences)]
    # The observed sample counts as one more resample, so that p is never 0 (Davison and Hinkley, sec. 4.2).
    one_sided = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    p_value = min(1.0, 2 * (one_sided + 1) / (len(differences) + 1))
    return Difference(first - second, low, high, p_value)


def _percentiles(values: Values) -> tuple[float, float]:
    tail = (100 - CONFIDENCE_PERCENT) / 2
    defined = values[~np.isnan(values)]
    if len(defined) == 0:
        return float("nan"), float("nan")
    low, high = np.percentile(defined, (tail, 100 - tail))
    return float(low), float(high)


def _check_matches(detections: Detections) -> None:
    cell = detections.image * detections.positives.shape[1] + detections.category
    for matched in detections.matched & ~detections.ignored:
        matches = np.bincount(cell[matched], minlength=detections.positives.size)
        if (matches > detections.positives.ravel()).any():
            raise ValueError("more detections are matched than there are objects to be found")


def _lengths_of_ties(detections: Detections, order: NDArray[np.int64]) -> NDArray[np.int32]:
    """(D): at the first of detections of equal category, score and image their number; not used at the others."""
    keys = [values[order] for values in (detections.category, detections.scores, detections.image)]
    is_first = np.ones(len(order), bool)
    is_first[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    firsts = np.flatnonzero(is_first)
    lengths = np.ones(len(order), np.int32)
    lengths[firsts] = np.diff(np.append(firsts, len(order)))
    return lengths


def _events(
    outcome: NDArray[np.uint8], ties: NDArray[np.int32], starts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(E) firsts of ties with a matched or ignored detection, by threshold; (T, C + 1) where a category's begin."""
    if outcome.shape[1] == 0:
        return np.zeros(0, np.int64), np.zeros((len(outcome), len(starts)), np.int64)
    is_first = np.zeros(outcome.shape[1], bool)
    index = 0
    while index < len(ties):
        is_first[index] = True
        index += ties[index]
    firsts = np.flatnonzero(is_first)
    found = [firsts[row] for row in np.logical_or.reduceat(outcome != 2, firsts, axis=1)]
    before = np.cumsum([0, *map(len, found[:-1])])
    bounds = [offset + np.searchsorted(places, starts) for offset, places in zip(before, found, strict=True)]
    return np.concatenate(found), np.array(bounds, np.int64)


@numba.njit(parallel=True, cache=True)
def _accumulate(weights, image, outcome, ties, events, bounds, starts, objects, recalls):  # type: ignore[no-untyped-def]
    """(R, N), (D), (T, D), (D), (E), (T, C + 1), (C + 1), (R, C), (101) -> (R, C, T); by category, best first."""
    num_resamples, num_thresholds, num_categories = len(weights), len(outcome), len(starts) - 1
    result = np.full((num_resamples, num_categories, num_thresholds), np.nan)
    most_points = 1
    for category in range(num_categories):
        most_points = max(most_points, int(objects[:, category].max()))
    most_detections = int((starts[1:] - starts[:-1]).max())
    for resample in numba.prange(num_resamples):
        precision, recall, drawn = np.empty(most_points), np.empty(most_points), np.empty(most_detections + 1)
        for category in range(num_categories):
            total = objects[resample, category]
            if total == 0:
                continue
            first = starts[category]
            drawn[0] = 0
            for index in range(first, starts[category + 1]):
                drawn[index - first + 1] = drawn[index - first] + weights[resample, image[index]]
            for threshold in range(num_thresholds):
                # Only the points at matched detections matter: between them precision falls and recall stays.
                # What lies between matched and ignored ones is missed as often as it was drawn.
                found, missed, points, done = 0.0, 0.0, 0, starts[category]
                for place in range(bounds[threshold, category], bounds[threshold, category + 1]):
                    index = events[place]
                    missed += drawn[index - first] - drawn[done - first]
                    weight, length = weights[resample, image[index]], ties[index]
                    # Ties of one image come up in turn, once for each copy of the image.
                    copies, step = (1, weight) if length == 1 else (weight, 1)
                    for _ in range(copies):
                        for tied in range(index, index + length):
                            if outcome[threshold, tied] == 2:
                                missed += step
                            elif outcome[threshold, tied] == 1 and step > 0:
                                found += step
                                precision[points] = found / (found + missed + EPSILON)
                                recall[points] = found / total
                                points += 1
                    done = index + length
                for point in range(points - 1, 0, -1):
                    precision[point - 1] = max(precision[point - 1], precision[point])
                area, point = 0.0, 0
                for wanted in recalls:
                    while point < points and recall[point] < wanted:
                        point += 1
                    if point == points:
                        break
                    area += precision[point]
                result[resample, category, threshold] = area / len(recalls)
    return result

"""COCO's twelve numbers from per-image matches, for all images or any resample of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from densebench.evaluation.coco_matching import MAX_DETECTIONS, THRESHOLDS, rank_in_run

# In the order in which COCO's own evaluation gives them.
NUMBERS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
RECALLS = np.linspace(0, 1, 101)
_AP75 = 5  # index of 0.75 in THRESHOLDS
# Range of area (all, small, medium, large) and detections of an image and category, of each average recall.
_RECALL_CASES = np.array([(0, 1), (0, 10), *((area, MAX_DETECTIONS) for area in range(4))])


@dataclass(frozen=True)
class Matches:
    """What a record keeps of an evaluation: M ranked detections, and the objects of G pairs of image and category."""

    num_images: int
    num_categories: int
    image: NDArray[np.int64]  # (M), an index of the tested images, as all images here
    category: NDArray[np.int64]  # (M)
    tie: NDArray[np.int64]  # (M), the place of the image among equal scores, which go by COCO's image ids
    score: NDArray[np.float64]  # (M)
    matched: NDArray[np.uint64]  # (M), bit 10 a + t: range of area a, threshold t
    ignored: NDArray[np.uint64]  # (M), the same
    truth_image: NDArray[np.int64]  # (G)
    truth_category: NDArray[np.int64]  # (G)
    truth_counts: NDArray[np.int64]  # (G, 4), by range of area

    @cached_property
    def by_score(self) -> tuple[NDArray[Any], ...]:
        """image, rank in its image and category, matched, ignored, each (M) by category and score; starts (K + 1)."""
        ranked = np.lexsort((-self.score, self.tie, self.category))
        rank = np.empty(len(ranked), np.int64)
        rank[ranked] = rank_in_run((self.category * self.num_images + self.tie)[ranked])
        order = np.lexsort((rank, self.tie, -self.score, self.category))
        starts = np.searchsorted(self.category[order], np.arange(self.num_categories + 1))
        return self.image[order], rank[order], self.matched[order], self.ignored[order], starts


def matches_of(arrays: Mapping[str, Any], kind: str) -> Matches:
    """The matches in a record's npz, or in ExactCoco's `per_image`; `kind` is "bbox" or "segm"."""
    detection, image_ids = arrays["match_detection"], arrays["image_ids"]
    category_ids = arrays["evaluated_category_ids"]
    sorting = np.argsort(category_ids)
    image = arrays["detection_image"][detection]
    return Matches(
        num_images=len(image_ids),
        num_categories=len(category_ids),
        image=image,
        category=sorting[np.searchsorted(category_ids, arrays["category_ids"][detection], sorter=sorting)],
        tie=np.argsort(np.argsort(image_ids))[image],
        score=arrays["scores"][detection],
        matched=arrays[f"{kind}_matched"],
        ignored=arrays[f"{kind}_ignored"],
        truth_image=arrays["truth_image"],
        truth_category=arrays["truth_category"],
        truth_counts=arrays["truth_counts"],
    )


def numbers(matches: Matches, weights: NDArray[np.int64] | None = None) -> dict[str, float]:
    """The twelve numbers in percent; one that is not defined, for lack of objects, is nan.

    `weights` (I) says how many times each image counts: of a bootstrap's resample, how often it was drawn; once each
    where None. A resample scores as the data set that holds its images so many times.
    """
    weights = np.ones(matches.num_images, np.int64) if weights is None else weights
    totals = np.zeros((matches.num_categories, 4), np.int64)
    np.add.at(totals, matches.truth_category, matches.truth_counts * weights[matches.truth_image, None])
    image, rank, matched, ignored, starts = matches.by_score
    precision, recall = _curves(
        starts, weights[image], rank, matched, ignored, totals, len(THRESHOLDS), RECALLS, _RECALL_CASES
    )
    parts = (precision[0], precision[0, 0], precision[0, _AP75], *precision[1:], *recall)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing is nan, as it should be
        return {name: 100 * float(np.nanmean(part)) for name, part in zip(NUMBERS, parts, strict=True)}


@njit(cache=True)
def _curves(
    starts: NDArray[np.int64],
    weights: NDArray[np.int64],
    rank: NDArray[np.int64],
    matched: NDArray[np.uint64],
    ignored: NDArray[np.uint64],
    totals: NDArray[np.int64],
    num_levels: int,
    recalls: NDArray[np.float64],
    cases: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision (4, T, K, 101) at each recall, and final recall (6, T, K); nan where there is no object.

    Precision at a recall is the largest at this or a higher recall (COCO's interpolation). It is read off where
    matches are; between two of them it only falls.
    """
    num_categories, num_areas = totals.shape
    precision = np.full((num_areas, num_levels, num_categories, len(recalls)), np.nan)
    recall = np.full((len(cases), num_levels, num_categories), np.nan)
    longest = 0
    for category in range(num_categories):
        longest = max(longest, starts[category + 1] - starts[category])
    reached, precisions = np.empty(longest), np.empty(longest)
    for category in range(num_categories):
        for area in range(num_areas):
            total = totals[category, area]
            if total == 0:
                continue
            for level in range(num_levels):
                bit = np.uint64(area * num_levels + level)
                right, wrong, length = 0, 0, 0
                early = np.zeros(len(cases), np.int64)
                for index in range(starts[category], starts[category + 1]):
                    weight = weights[index]
                    if weight == 0 or (ignored[index] >> bit) & np.uint64(1):
                        continue
                    if not (matched[index] >> bit) & np.uint64(1):
                        wrong += weight
                        continue
                    right += weight
                    for case in range(len(cases)):
                        if cases[case, 0] == area and rank[index] < cases[case, 1]:
                            early[case] += weight
                    reached[length] = right / total
                    precisions[length] = right / (wrong + right + 2.220446049250313e-16)
                    length += 1
                for case in range(len(cases)):
                    if cases[case, 0] == area:
                        recall[case, level, category] = early[case] / total
                for index in range(length - 1, 0, -1):
                    precisions[index - 1] = max(precisions[index - 1], precisions[index])
                index = 0
                for point in range(len(recalls)):
                    while index < length and reached[index] < recalls[point]:
                        index += 1
                    precision[area, level, category, point] = precisions[index] if index < length else 0.0
    return precision, recall

"""COCO's twelve numbers from per-image matches, for all images or any resample of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densebench.evaluation.average_precision import Outcomes, average_precisions, ties
from densebench.evaluation.coco_matching import MAX_DETECTIONS, THRESHOLDS, rank_in_run

# In the order in which COCO's own evaluation gives them.
NUMBERS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
NUM_AREAS = 4  # all, small, medium, large
_AP75 = 5  # index of 0.75 in THRESHOLDS
# Range of area and detections of an image and category, of each average recall.
_RECALL_CASES = ((0, 1), (0, 10), *((area, MAX_DETECTIONS) for area in range(NUM_AREAS)))


@dataclass(frozen=True)
class Matches:
    """What a record keeps of an evaluation: M ranked detections, and the objects of G pairs of image and category.

    Images are numbered in the order of their ids, which decides between equal scores.
    """

    num_images: int
    num_categories: int
    image: NDArray[np.int64]  # (M)
    category: NDArray[np.int64]  # (M)
    score: NDArray[np.float64]  # (M)
    matched: NDArray[np.uint64]  # (M), bit 10 a + t: range of area a, threshold t
    ignored: NDArray[np.uint64]  # (M), the same
    truth_image: NDArray[np.int64]  # (G)
    truth_category: NDArray[np.int64]  # (G)
    truth_counts: NDArray[np.int64]  # (G, 4), by range of area

    @cached_property
    def _by_score(self) -> tuple[NDArray[Any], ...]:
        """Image, category, tie, matched, ignored: (M) each, as `Outcomes` has them."""
        order, tie = ties(self.score, self.image, self.category)
        return self.image[order], self.category[order], tie, self.matched[order], self.ignored[order]

    def outcomes(self, area: int) -> Outcomes:
        """What average precision over the objects of a range of area is made of."""
        image, category, tie, matched, ignored = self._by_score
        thresholds = np.uint64((1 << len(THRESHOLDS)) - 1)
        shift = np.uint64(len(THRESHOLDS) * area)
        positives = np.zeros((self.num_images, self.num_categories), np.int64)
        positives[self.truth_image, self.truth_category] = self.truth_counts[:, area]
        return Outcomes(
            image=image,
            category=category,
            tie=tie,
            matched=matched >> shift & thresholds,
            ignored=ignored >> shift & thresholds,
            positives=positives,
        )


def matches_of(arrays: Mapping[str, Any], kind: str) -> Matches:
    """The matches in a record's npz, or in ExactCoco's `per_image`; `kind` is "bbox" or "segm"."""
    detection, image_ids = arrays["match_detection"], arrays["image_ids"]
    category_ids = arrays["evaluated_category_ids"]
    sorting = np.argsort(category_ids)
    place = np.argsort(np.argsort(image_ids, kind="stable"), kind="stable")
    return Matches(
        num_images=len(image_ids),
        num_categories=len(category_ids),
        image=place[arrays["detection_image"][detection]],
        category=sorting[np.searchsorted(category_ids, arrays["category_ids"][detection], sorter=sorting)],
        score=arrays["scores"][detection],
        matched=arrays[f"{kind}_matched"],
        ignored=arrays[f"{kind}_ignored"],
        truth_image=place[arrays["truth_image"]],
        truth_category=arrays["truth_category"],
        truth_counts=arrays["truth_counts"],
    )


def numbers(matches: Matches) -> dict[str, float]:
    """The twelve numbers in percent; one that is not defined, for lack of objects, is nan."""
    once = np.ones((1, matches.num_images), np.int32)
    precisions = [
        average_precisions(once, matches.outcomes(area), len(THRESHOLDS))[0] for area in range(NUM_AREAS)
    ]  # (K, T) each
    parts = (precisions[0], precisions[0][:, 0], precisions[0][:, _AP75], *precisions[1:], *_recalls(matches))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing is nan, as it should be
        return {name: 100 * float(np.nanmean(part)) for name, part in zip(NUMBERS, parts, strict=True)}


def _recalls(matches: Matches) -> list[NDArray[np.float64]]:
    """(T, K) for each case, the share of objects that the best detections find; nan where there is no object."""
    totals = np.zeros((matches.num_categories, NUM_AREAS))
    np.add.at(totals, matches.truth_category, matches.truth_counts)
    totals[totals == 0] = np.nan
    pair = matches.category * matches.num_images + matches.image
    ranked = np.lexsort((-matches.score, pair))
    rank: NDArray[np.int64] = np.empty(len(ranked), np.int64)
    rank[ranked] = rank_in_run(pair[ranked])
    found = matches.matched & ~matches.ignored
    some = found > 0
    found, rank, category = found[some], rank[some], matches.category[some]
    recalls = []
    for area, most in _RECALL_CASES:
        bits = [np.uint64(len(THRESHOLDS) * area + level) for level in range(len(THRESHOLDS))]
        chosen = [category[(found >> bit & np.uint64(1) > 0) & (rank < most)] for bit in bits]
        counts = [np.bincount(categories, minlength=matches.num_categories) for categories in chosen]
        recalls.append(np.array(counts) / totals[:, area])
    return recalls

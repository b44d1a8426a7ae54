"""Average precision of a test and of any resample of its images, against pycocotools."""

from __future__ import annotations

import contextlib
import copy
import io
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from densebench.evaluation.average_precision import RECALLS, Outcomes, _objects_for, average_precisions, ties
from densebench.leaderboard.bootstrap import resample_weights

NUM_IMAGES, NUM_CLASSES = 12, 3


def test_average_precision_of_a_resample_is_pycocotools_on_the_images_drawn() -> None:
    truth, found = _scenes()
    evaluation = _evaluate(truth, found)
    for area in range(2):
        outcomes = _outcomes(evaluation, area)
        weights = np.concatenate([np.ones((1, NUM_IMAGES), np.int32), resample_weights(NUM_IMAGES, 8)])
        precisions = average_precisions(weights, outcomes, 10)  # (R, C, T)
        for weight, precision in zip(weights, precisions, strict=True):
            expected = _evaluate(*_drawn(truth, found, weight)).eval["precision"]  # (T, 101, C, areas, max dets)
            expected = expected[:, :, :, area, 2].mean(axis=1).T
            expected[expected < 0] = np.nan
            np.testing.assert_allclose(precision, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["no detections", "no objects"])
@pytest.mark.parametrize("rows", [1, 3])
def test_average_precision_at_the_edges(kind: str, rows: int) -> None:
    positives = np.full((4, 1), 1 if kind == "no detections" else 0)
    none = np.zeros(0, np.int64)
    outcomes = Outcomes(none, none, none, none.astype(np.uint64), none.astype(np.uint64), positives)
    precisions = average_precisions(np.ones((rows, 4), np.int32), outcomes, 10)
    assert precisions.shape == (rows, 1, 10)
    assert (precisions == 0).all() if kind == "no detections" else np.isnan(precisions).all()


def test_more_matches_than_objects_are_refused() -> None:
    zeros, bits = np.zeros(2, np.int64), np.array([1, 1], np.uint64)
    outcomes = Outcomes(zeros, zeros, np.array([1, 2]), bits, np.zeros(2, np.uint64), np.ones((1, 1), np.int64))
    with pytest.raises(ValueError, match="more detections are matched"):
        average_precisions(np.ones((1, 1), np.int32), outcomes, 10)


@pytest.mark.parametrize("total", [1, 7, 99, 100, 101, 36781])
def test_recalls_are_reached_where_floats_say_so(total: int) -> None:
    shares = np.arange(total + 1) / total
    assert [_objects_for(recall, total) for recall in RECALLS] == np.searchsorted(shares, RECALLS).tolist()


# A small data set and a detector that finds some of it ---------------------------------------------------------


def _scenes() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    random = np.random.default_rng(3)
    objects: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image in range(1, NUM_IMAGES + 1):
        for _ in range(random.integers(1, 6)):
            left, top, width, height = (float(number) for number in random.integers((0, 0, 8, 8), (80, 80, 60, 60)))
            category = int(random.integers(1, NUM_CLASSES + 1))
            common = {"image_id": image, "category_id": category}
            objects.append(
                {**common, "id": len(objects) + 1, "bbox": [left, top, width, height], "area": width * height}
            )
            objects[-1]["iscrowd"] = int(random.random() < 0.1)
            for _ in range(random.integers(0, 3)):
                shift = random.normal(0, 3, 4)
                # Scores of one digit, so that many are equal.
                score = round(float(random.random()), 1)
                box = [left + shift[0], top + shift[1], max(width + shift[2], 1), max(height + shift[3], 1)]
                found.append({**common, "bbox": [float(number) for number in box], "score": score})
            if random.random() < 0.5:
                wrong = {"image_id": image, "category_id": int(random.integers(1, NUM_CLASSES + 1))}
                found.append({**wrong, "bbox": [5.0, 5.0, 20.0, 20.0], "score": round(float(random.random()), 1)})
    images = [{"id": image, "height": 160, "width": 160, "file_name": ""} for image in range(1, NUM_IMAGES + 1)]
    categories = [{"id": category, "name": str(category)} for category in range(1, NUM_CLASSES + 1)]
    return {"images": images, "annotations": objects, "categories": categories}, found


def _drawn(
    truth: dict[str, Any], found: list[dict[str, Any]], weights: Any
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The images as often as they were drawn, copies following each other."""
    images: list[Any] = []
    objects: list[Any] = []
    detections: list[Any] = []
    for image in truth["images"]:
        for _ in range(weights[image["id"] - 1]):
            number = len(images) + 1
            images.append({**image, "id": number})
            for entry in truth["annotations"]:
                if entry["image_id"] == image["id"]:
                    objects.append({**entry, "image_id": number, "id": len(objects) + 1})
            detections += [{**entry, "image_id": number} for entry in found if entry["image_id"] == image["id"]]
    return {**truth, "images": images, "annotations": objects}, detections


def _evaluate(truth: dict[str, Any], found: list[dict[str, Any]]) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        index = COCO()
        index.dataset = copy.deepcopy(truth)
        index.createIndex()
        evaluation = COCOeval(index, index.loadRes(copy.deepcopy(found)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def _outcomes(evaluation: COCOeval, area: int) -> Outcomes:
    num_areas = len(evaluation.params.areaRng)
    parts: list[tuple[Any, ...]] = []
    positives = np.zeros((NUM_IMAGES, NUM_CLASSES), int)
    for category in range(NUM_CLASSES):
        for image in range(NUM_IMAGES):
            found = evaluation.evalImgs[(category * num_areas + area) * NUM_IMAGES + image]
            if found is None:
                continue
            positives[image, category] = np.count_nonzero(np.asarray(found["gtIgnore"]) == 0)
            count = len(found["dtScores"])
            where = np.full(count, image), np.full(count, category)
            parts.append((np.array(found["dtScores"]), *where, found["dtMatches"] > 0, found["dtIgnore"] > 0))
    scores, image, category, matched, ignored = (np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
    order, tie = ties(scores, image.astype(int), category.astype(int))
    bits = [(np.uint64(1) << np.arange(10, dtype=np.uint64)) @ flags[:, order] for flags in (matched, ignored)]
    return Outcomes(image[order].astype(int), category[order].astype(int), tie, *bits, positives)

"""The bootstrap: resamples accumulated exactly, and intervals that cover what they promise."""

from __future__ import annotations

import contextlib
import copy
import io
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from densebench.evaluation.iou import summarize
from densebench.leaderboard.bootstrap import (
    Detections,
    average_precisions,
    class_ious,
    difference,
    interval,
    mean,
    resample_weights,
)

NUM_IMAGES, NUM_CLASSES = 12, 3


def test_weights_draw_as_many_images_as_there_are_and_are_seeded() -> None:
    weights = resample_weights(50, 200, seed=1)
    assert weights.shape == (200, 50)
    assert (weights.sum(axis=1) == 50).all()
    assert 0.9 < weights.var() < 1.1  # of a multinomial with one draw per image on average
    assert np.array_equal(weights, resample_weights(50, 200, seed=1))
    assert not np.array_equal(weights, resample_weights(50, 200, seed=2))


def test_miou_of_a_resample_is_that_of_the_images_drawn() -> None:
    random = np.random.default_rng(0)
    # Large enough that float32 would lose pixels.
    counts = random.integers(0, 2**30, (NUM_IMAGES, 3, NUM_CLASSES))
    counts[:, 0] = counts.min(axis=1)
    unions = counts[:, 1] + counts[:, 2] - counts[:, 0]
    weights = resample_weights(NUM_IMAGES, 20)
    mious = mean(class_ious(weights, counts[:, 0], unions))
    for weight, miou in zip(weights, mious, strict=True):
        drawn = np.repeat(counts, weight, axis=0)
        assert miou == pytest.approx(summarize(drawn.sum(axis=0))["mIoU"], abs=1e-11)


def test_a_class_that_no_drawn_image_has_does_not_count() -> None:
    ious = class_ious(np.array([[2, 0], [1, 1]]), np.array([[5, 0], [5, 3]]), np.array([[10, 0], [10, 4]]))
    assert np.isnan(ious[0, 1])
    assert mean(ious) == pytest.approx([50.0, (50.0 + 75.0) / 2])


def test_average_precision_of_a_resample_is_pycocotools_on_the_images_drawn() -> None:
    truth, found = _scenes()
    evaluation = _evaluate(truth, found)
    for area in range(2):
        detections = _detections(evaluation, area)
        weights = np.concatenate([np.ones((1, NUM_IMAGES), np.int32), resample_weights(NUM_IMAGES, 8)])
        precisions = average_precisions(weights, detections)  # (R, C, T)
        for weight, precision in zip(weights, precisions, strict=True):
            expected = _evaluate(*_drawn(truth, found, weight)).eval["precision"]  # (T, 101, C, areas, max dets)
            expected = expected[:, :, :, area, 2].mean(axis=1).T
            expected[expected < 0] = np.nan
            np.testing.assert_allclose(precision, 100 * expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["no detections", "no objects"])
def test_average_precision_at_the_edges(kind: str) -> None:
    none = np.zeros(0)
    positives = np.full((4, 1), 1 if kind == "no detections" else 0)
    flags = np.zeros((10, 0), bool)
    detections = Detections(none, none.astype(int), none.astype(int), flags, flags, positives)
    precisions = average_precisions(resample_weights(4, 3), detections)
    assert precisions.shape == (3, 1, 10)
    assert (precisions == 0).all() if kind == "no detections" else np.isnan(precisions).all()


def test_more_matches_than_objects_are_refused() -> None:
    flags = np.ones((10, 2), bool)
    zeros = np.zeros(2, int)
    detections = Detections(np.array([0.9, 0.8]), zeros, zeros, flags, ~flags, np.ones((1, 1), int))
    with pytest.raises(ValueError, match="more detections are matched"):
        average_precisions(np.ones((1, 1), np.int32), detections)


def test_equal_models_do_not_differ_and_a_better_one_does() -> None:
    random = np.random.default_rng(0)
    unions = np.full((300, NUM_CLASSES), 1000)
    worse = random.integers(300, 700, (300, NUM_CLASSES))
    weights = resample_weights(300)
    low = mean(class_ious(weights, worse, unions))
    same = difference(50.0, 50.0, low, low)
    assert (same.low, same.high, same.p_value, same.is_real) == (0.0, 0.0, 1.0, False)
    # Far less than the spread over images, yet the same on each of them.
    high = mean(class_ious(weights, worse + 5, unions))
    better = difference(50.5, 50.0, high, low)
    assert better.is_real
    assert better.p_value == pytest.approx(2 / 1001)
    apart = interval(50.5, high)
    assert apart.high - apart.low > 10 * (better.high - better.low)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """2,000 simulated test sets of 200 images; the standard error of the coverage is 0.5 percentage points."""
    random = np.random.default_rng(0)
    truth = np.array([0.3, 0.5, 0.8])
    num_tests, num_images = 2000, 200
    weights = resample_weights(num_images, 400)
    covered = real = 0
    for _ in range(num_tests):
        unions = random.integers(200, 1800, (num_images, NUM_CLASSES))
        hard = random.normal(0, 0.05, (num_images, NUM_CLASSES))
        first, second = (
            (unions * np.clip(truth + hard + random.normal(0, 0.1, unions.shape), 0, 1)).astype(int) for _ in range(2)
        )
        one, other = (mean(class_ious(weights, part, unions)) for part in (first, second))
        found = interval(0.0, one)
        covered += found.low <= 100 * truth.mean() <= found.high
        real += difference(0.0, 0.0, one, other).is_real
    assert 93 < 100 * covered / num_tests < 97
    assert 3 < 100 * real / num_tests < 7


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


def _detections(evaluation: COCOeval, area: int) -> Detections:
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
    return Detections(scores, image.astype(int), category.astype(int), matched, ignored, positives)

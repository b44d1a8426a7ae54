"""The bootstrap: resamples accumulated exactly, and intervals that cover what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from densebench.evaluation.average_precision import Outcomes, average_precisions, ties
from densebench.evaluation.iou import summarize
from densebench.leaderboard.bootstrap import (
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
    rows = np.vstack([np.ones((1, num_images), np.int32), resample_weights(num_images, 400)])  # the test itself first
    covered = real = 0
    for _ in range(num_tests):
        unions = random.integers(200, 1800, (num_images, NUM_CLASSES))
        hard = random.normal(0, 0.05, (num_images, NUM_CLASSES))
        first, second = (
            (unions * np.clip(truth + hard + random.normal(0, 0.1, unions.shape), 0, 1)).astype(int) for _ in range(2)
        )
        (value, *one), (other_value, *other) = (mean(class_ious(rows, part, unions)) for part in (first, second))
        found = interval(value, np.array(one))
        covered += found.low <= 100 * truth.mean() <= found.high
        real += difference(value, other_value, np.array(one), np.array(other)).is_real
    assert 93 < 100 * covered / num_tests < 97
    assert 3 < 100 * real / num_tests < 7


@pytest.mark.slow
def test_intervals_of_ap_miss_on_both_sides_alike() -> None:
    """400 simulated test sets of rare categories; resamples score higher, by half of their standard deviation."""
    random = np.random.default_rng(0)
    num_tests, num_images, num_categories = 400, 200, 30
    rows = np.vstack([np.ones((1, num_images), np.int32), resample_weights(num_images, 200)])  # the test itself first
    found, bias, spread = [], [], []
    for _ in range(num_tests):
        outcomes = simulated_detections(random, num_images, num_categories)
        value, *resampled = 100 * mean(average_precisions(rows, outcomes, 1))
        found.append(interval(value, np.array(resampled)))
        bias.append(np.mean(resampled) - value)
        spread.append(np.std(resampled))
    assert np.mean(bias) > np.mean(spread) / 3
    expected = np.mean([one.value for one in found])
    too_high = np.mean([one.low > expected for one in found])
    too_low = np.mean([one.high < expected for one in found])
    # 2.5 % each if the spread of 200 images were that of all; their standard error is 1 point.
    assert too_high < 0.065 and too_low < 0.065


def simulated_detections(random: np.random.Generator, num_images: int, num_categories: int) -> Outcomes:
    """Rare objects, most of them found with higher scores than what is found wrongly."""
    objects = random.poisson(0.05, (num_images, num_categories))
    right = random.binomial(objects, 0.75)
    wrong = random.poisson(0.08, objects.shape)
    images, categories = (axis.ravel() for axis in np.indices(objects.shape))
    image = np.concatenate([np.repeat(images, counts.ravel()) for counts in (right, wrong)])
    category = np.concatenate([np.repeat(categories, counts.ravel()) for counts in (right, wrong)])
    is_right = np.arange(len(image)) < right.sum()
    order, tie = ties(random.normal(np.where(is_right, 1.0, -0.2)), image, category)
    matched = is_right[order].astype(np.uint64)
    return Outcomes(image[order], category[order], tie, matched, np.zeros_like(matched), objects)

"""The bootstrap: resamples accumulated exactly, and intervals that cover what they promise."""

from __future__ import annotations

import numpy as np
import pytest

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

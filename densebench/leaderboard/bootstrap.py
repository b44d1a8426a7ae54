"""Bootstrap over images: the metrics of many resamples of a test set, each accumulated exactly as the test itself.

A resample is a vector of weights, how often each image was drawn (Efron and Tibshirani, An Introduction to the
Bootstrap, ch. 6). Two models are compared on the same resamples, so that what both find hard cancels out (ch. 8).

Resamples are moved so that their mean is the value itself (ch. 10: the estimate of bias, taken off). AP needs it, since
copies of an image agree with each other and resamples score higher than the test: with many rare categories by half of
their spread and more. Left where they are, intervals end just below the value and reach far above it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 1000  # percentiles at 2.5 and 97.5 are then good to about a tenth of the interval's width
CONFIDENCE_PERCENT = 95.0

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A value with the percentile interval of its recentred resamples, all in the metric's unit."""

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


def mean(values: Values) -> Values:
    """(R, ...) -> (R,): the mean of what is defined; nan where nothing is."""
    flat = values.reshape(len(values), -1)
    defined = ~np.isnan(flat)
    counts = defined.sum(axis=1)
    sums = np.where(defined, flat, 0.0).sum(axis=1)
    return np.divide(sums, counts, out=np.full(len(flat), np.nan), where=counts > 0)


def interval(value: float, resampled: Values) -> Interval:
    """A value with the interval of its resamples; resamples in which it is not defined do not count."""
    low, high = _percentiles(_recentred(value, resampled))
    return Interval(value, low, high)


def difference(first: float, second: float, resampled_first: Values, resampled_second: Values) -> Difference:
    """The paired difference first - second; both sides are of the same resamples."""
    differences = _recentred(first - second, resampled_first - resampled_second)
    low, high = _percentiles(differences)
    # The observed sample counts as one more resample, so that p is never 0 (Davison and Hinkley, sec. 4.2).
    one_sided = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    p_value = min(1.0, 2 * (one_sided + 1) / (len(differences) + 1))
    return Difference(first - second, low, high, p_value)


def _recentred(value: float, resampled: Values) -> Values:
    """The resamples in which the value is defined, moved so that it is their mean."""
    defined = resampled[~np.isnan(resampled)]
    # Where no resample differs from the value, none does by rounding either.
    if len(defined) == 0 or (defined == value).all():
        return defined
    return defined - (defined.mean() - value)


def _percentiles(values: Values) -> tuple[float, float]:
    if len(values) == 0:
        return float("nan"), float("nan")
    tail = (100 - CONFIDENCE_PERCENT) / 2
    low, high = np.percentile(values, (tail, 100 - tail))
    return float(low), float(high)

"""How sure a row's figures are: intervals over images, spread over seeds, and the paired comparison of two rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from densebench.errors import DensebenchError
from densebench.leaderboard.bootstrap import NUM_RESAMPLES, Difference, Interval, Values, difference, interval
from densebench.leaderboard.resampling import TOLERANCE_PERCENT, Resampled, resampled
from densebench.results.records import Record


@dataclass(frozen=True)
class Spread:
    """A figure over the seeds of an experiment, in the figure's unit."""

    num_seeds: int
    standard_deviation: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class PartDifference:
    """The difference in one class, or one range of object sizes."""

    name: str
    difference: Difference


@dataclass(frozen=True)
class Comparison:
    """One metric of two experiments on the same images, in percent."""

    metric: str
    first: Interval
    second: Interval
    difference: Difference  # first - second
    parts: tuple[PartDifference, ...] = field(default=())  # those that make the difference, largest first


def metric_interval(records: Sequence[Record], metric: str, num_resamples: int = NUM_RESAMPLES) -> Interval | None:
    """The mean of a metric over the seeds of an experiment, with its interval over images; None where unknown.

    Raises:
        ValueError: the per-image parts of a record cannot be read, or are of another test.
    """
    values = _mean_over_seeds(records, metric, num_resamples)
    return None if values is None else interval(float(values[0]), values[1:])


def part_intervals(records: Sequence[Record], metric: str, num_resamples: int = NUM_RESAMPLES) -> dict[str, Interval]:
    """The mean over seeds of each part of a metric (a class) that occurs, with its interval over images.

    Raises:
        ValueError: the per-image parts of a record cannot be read.
    """
    sides = [_of(record, num_resamples).parts.get(metric, {}) for record in records if record.per_image is not None]
    names = [name for name in (sides[0] if sides else {}) if all(name in side for side in sides)]
    means = {name: np.mean([side[name] for side in sides], axis=0) for name in names}
    return {name: interval(float(value[0]), value[1:]) for name, value in means.items() if not np.isnan(value[0])}


def spread(values: Sequence[float]) -> Spread | None:
    """The spread of a figure over seeds (standard deviation of a sample); None for a single one."""
    if len(values) < 2:
        return None
    return Spread(len(values), float(np.std(values, ddof=1)), min(values), max(values))


def compare(
    first: Sequence[Record],
    second: Sequence[Record],
    metric: str,
    num_resamples: int = NUM_RESAMPLES,
    with_parts: bool = True,
) -> Comparison | None:
    """The paired difference of a metric between two experiments, each given by its seeds' records; None where unknown.

    Raises:
        DensebenchError: they were not tested on the same images.
        ValueError: the per-image parts of a record cannot be read, or are of another test.
    """
    one, other = (_mean_over_seeds(records, metric, num_resamples) for records in (first, second))
    if one is None or other is None:
        return None
    require_same_images(first[0], second[0], num_resamples)
    return Comparison(
        metric,
        interval(float(one[0]), one[1:]),
        interval(float(other[0]), other[1:]),
        _difference(one, other),
        _part_differences(first, second, metric, num_resamples) if with_parts else (),
    )


def require_same_images(first: Record, second: Record, num_resamples: int = NUM_RESAMPLES) -> None:
    """Only tests of the same images and labels can be compared image by image.

    Raises:
        DensebenchError: these two are of different ones.
    """
    fingerprints = [record.provenance.get("dataset_fingerprint") for record in (first, second)]
    images = [_of(record, num_resamples).images for record in (first, second)]
    if fingerprints[0] != fingerprints[1] or images[0] != images[1]:
        raise DensebenchError(
            f"{first.experiment} and {second.experiment} were not tested on the same images: {len(images[0])} and "
            f"{len(images[1])} images, data fingerprints {fingerprints[0]} and {fingerprints[1]}. Test both on the "
            "same data to compare them."
        )


def _part_differences(
    first: Sequence[Record], second: Sequence[Record], metric: str, num_resamples: int
) -> tuple[PartDifference, ...]:
    sides = [[_of(record, num_resamples).parts.get(metric, {}) for record in records] for records in (first, second)]
    names = [name for name in sides[0][0] if all(name in parts for side in sides for parts in side)]
    found = []
    for name in names:
        one, other = (np.mean([parts[name] for parts in side], axis=0) for side in sides)
        if not np.isnan(one[0] - other[0]):
            found.append(PartDifference(name, _difference(one, other)))
    return tuple(sorted(found, key=lambda part: -abs(part.difference.value)))


def _difference(first: Values, second: Values) -> Difference:
    return difference(float(first[0]), float(second[0]), first[1:], second[1:])


def _mean_over_seeds(records: Sequence[Record], metric: str, num_resamples: int) -> Values | None:
    """(1 + R,), as `Resampled` has it; None where a seed lacks the metric or its per-image parts."""
    if not records or any(record.per_image is None or record.metrics.get(metric) is None for record in records):
        return None
    tests = [_of(record, num_resamples) for record in records]
    if any(metric not in test.figures or test.images != tests[0].images for test in tests):
        return None
    for record, test in zip(records, tests, strict=True):
        if abs(test.figures[metric][0] - record.metrics[metric]) > TOLERANCE_PERCENT:
            raise ValueError(
                f"{record.per_image}: {metric} of the per-image parts is {test.figures[metric][0]:.6f}, in the record "
                f"{record.metrics[metric]:.6f}; they are not of the same test"
            )
    mean: Values = np.mean([test.figures[metric] for test in tests], axis=0)
    return mean


def _of(record: Record, num_resamples: int) -> Resampled:
    assert record.per_image is not None
    try:
        return resampled(record.per_image, num_resamples)
    except ValueError as error:
        raise ValueError(f"{record.per_image}: {error}") from error


def significant_ranks(num_rows: int, is_better: Mapping[tuple[int, int], bool]) -> list[int]:
    """The rank of each row: one more than the number of rows that are really better.

    `is_better[i, j]` says whether row i is better than row j beyond chance; rows that are not told apart may share a
    rank.
    """
    rows = range(num_rows)
    return [1 + sum(is_better.get((other, row), False) for other in rows) for row in rows]

"""How long the leaderboard's intervals take: a segmentor's and a detector's test, 1,000 resamples each.

    NUMBA_NUM_THREADS=2 python -m tests.perf.leaderboard [--images 5000] [--detections 500000]

Compiled code is loaded before the clock starts.
"""

from __future__ import annotations

import argparse
import time

import numba
import numpy as np

from densebench.leaderboard.bootstrap import (
    NUM_RESAMPLES,
    Detections,
    average_precisions,
    class_ious,
    interval,
    mean,
    resample_weights,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=500_000)
    arguments = parser.parse_args()
    print(f"{numba.get_num_threads()} thread(s), {NUM_RESAMPLES} resamples", flush=True)
    print(f"mIoU, 2000 images x 150 classes: {seconds_of_segmentation(2000, 150):.2f} s", flush=True)
    seconds_of_detection(50, 500)  # compiles, or loads what was compiled
    seconds = seconds_of_detection(arguments.images, arguments.detections)
    print(f"AP of boxes, {arguments.images} images, {arguments.detections} detections: {seconds:.1f} s")


def seconds_of_segmentation(num_images: int, num_classes: int) -> float:
    random = np.random.default_rng(0)
    unions = random.integers(0, 10_000, (num_images, num_classes)) * (random.random((num_images, num_classes)) < 0.1)
    intersections = (unions * random.random(unions.shape)).astype(np.int64)
    start = time.perf_counter()
    values = mean(class_ious(resample_weights(num_images), intersections, unions))
    interval(float(values[0]), values)
    return time.perf_counter() - start


def seconds_of_detection(num_images: int, num_detections: int, num_categories: int = 80) -> float:
    random = np.random.default_rng(0)
    image = np.sort(random.integers(0, num_images, num_detections))
    category = random.integers(0, num_categories, num_detections)
    matched = random.random((10, num_detections)) < np.linspace(0.08, 0.02, 10)[:, None]
    positives = np.bincount(image * num_categories + category, minlength=num_images * num_categories)
    detections = Detections(
        scores=random.random(num_detections),
        image=image,
        category=category,
        matched=matched,
        ignored=np.zeros_like(matched),
        positives=positives.reshape(num_images, num_categories),
    )
    start = time.perf_counter()
    values = mean(average_precisions(resample_weights(num_images), detections))
    interval(float(values[0]), values)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

"""How long the leaderboard's intervals take: a segmentor's and a detector's whole test, 1,000 resamples each.

    NUMBA_NUM_THREADS=2 python -m tests.perf.leaderboard [--images 5000] [--detections 500000]

The detector's is read from its file. Compiled code is loaded before the clock starts.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from pathlib import Path

import numba
import numpy as np

from densebench.evaluation.coco_metric import ExactCoco
from densebench.leaderboard.bootstrap import NUM_RESAMPLES, class_ious, interval, mean, resample_weights
from densebench.leaderboard.resampling import resampled
from tests.perf.coco import CLASSES, synthetic


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=500_000)
    arguments = parser.parse_args()
    print(f"{numba.get_num_threads()} thread(s), {NUM_RESAMPLES} resamples", flush=True)
    print(f"mIoU, 2000 images x 150 classes: {seconds_of_segmentation(2000, 150):.2f} s", flush=True)
    seconds_of_detection(50, 500, 10)  # compiles, or loads what was compiled
    seconds, of_cpu = seconds_of_detection(arguments.images, arguments.detections)
    what = "AP, AP50, AP75, APs, APm, APl of boxes and masks"
    print(
        f"{what}, {arguments.images} images, {arguments.detections} detections: {seconds:.1f} s ({of_cpu:.1f} s of CPU)"
    )


def seconds_of_segmentation(num_images: int, num_classes: int) -> float:
    random = np.random.default_rng(0)
    unions = random.integers(0, 10_000, (num_images, num_classes)) * (random.random((num_images, num_classes)) < 0.1)
    intersections = (unions * random.random(unions.shape)).astype(np.int64)
    start = time.perf_counter()
    values = mean(class_ious(resample_weights(num_images), intersections, unions))
    interval(float(values[0]), values)
    return time.perf_counter() - start


def seconds_of_detection(
    num_images: int, num_detections: int, num_resamples: int = NUM_RESAMPLES
) -> tuple[float, float]:
    """Wall and CPU time, from the file of a record to the intervals of all AP of boxes and masks."""
    with tempfile.TemporaryDirectory() as folder:
        file, samples = synthetic(num_images, num_detections, Path(folder))
        metric = ExactCoco(str(file))
        metric.dataset_meta = {"classes": CLASSES}
        metric.process({}, samples)
        with contextlib.redirect_stdout(io.StringIO()):
            metrics = metric.evaluate(num_images)
        # Resampling sees matches alone; those of the boxes stand for those of masks.
        masks = {f"segm_{name}": metric.per_image[f"bbox_{name}"] for name in ("matched", "ignored")}
        path = Path(folder) / "parts.npz"
        np.savez_compressed(path, **metric.per_image, **masks, classes=np.array(CLASSES))
        start, start_of_cpu = time.perf_counter(), time.process_time()
        found = resampled(path, num_resamples)
        intervals = {name: interval(float(values[0]), values[1:]) for name, values in found.figures.items()}
        seconds, of_cpu = time.perf_counter() - start, time.process_time() - start_of_cpu
    assert len(intervals) == 12
    assert all(abs(intervals[name].value - value) < 1e-9 for name, value in metrics.items() if name in intervals)
    return seconds, of_cpu


if __name__ == "__main__":
    main()

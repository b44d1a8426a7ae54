"""COCO's evaluation and mask pasting against mmdet's, both sides in one run: medians, memory, equal results.

    python -m tests.perf.coco [--images 5000] [--detections 500000] [--repeats 3]

Prints the table of docs/performance.md. The full size takes mmdet a minute or two a repeat.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import ConfigDict
from torch.nn import functional

import densebench.registration_detection  # noqa: F401
from densebench.data.coco import CATEGORIES
from densebench.evaluation.coco_metric import ExactCoco, encoded
from densebench.evaluation.mask_head import FCNMaskHead, RunLengthMaskHead
from tests.perf.table import HEADER, Spent, compare, time_row, timed, value_row

CLASSES = tuple(CATEGORIES.values())
HEIGHT, WIDTH = 800, 1333
OBJECTS_PER_IMAGE = 7.3  # of val2017


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=500_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s), medians\n\n{HEADER}")
    compare_masks(runs=10 * arguments.repeats)
    with tempfile.TemporaryDirectory() as folder:
        compare_boxes(arguments.images, arguments.detections, arguments.repeats, Path(folder))
    print(f"\nFirst calls in a fresh process: {first_calls()}")


def compare_masks(runs: int) -> None:
    """100 objects with logits of 80 classes, to run lengths of an image of 1333x800."""
    rng = np.random.default_rng(0)
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(100 * len(CLASSES), 1, 4, 4, generator=generator)
    logits = functional.interpolate(coarse, size=(28, 28), mode="bicubic").reshape(100, len(CLASSES), 28, 28)
    across = torch.linspace(-1, 1, 28)
    logits = 3 * logits + 8 * (0.9 - (across[:, None] ** 2 + across**2).sqrt())  # discs with bulges and dents
    sides = np.exp(rng.uniform(np.log(16), np.log(600), (100, 2)))
    corners = rng.uniform(0, (WIDTH, HEIGHT), (100, 2)) - sides / 2
    boxes = torch.tensor(np.concatenate([corners, corners + sides], axis=1), dtype=torch.float32)
    boxes[:, 0::2].clamp_(0, WIDTH)
    boxes[:, 1::2].clamp_(0, HEIGHT)
    labels = torch.tensor(rng.integers(0, len(CLASSES), 100))
    meta = {"scale_factor": (1.0, 1.0), "ori_shape": (HEIGHT, WIDTH)}

    def run(head_class: type[FCNMaskHead]) -> list[dict[str, Any]]:
        head = head_class(num_convs=0, in_channels=1, conv_out_channels=1, num_classes=len(CLASSES))
        settings = ConfigDict(mask_thr_binary=0.5)
        return encoded(head._predict_by_feat_single(logits, boxes.clone(), labels, meta, settings, rescale=True))

    expected, found = run(FCNMaskHead), run(RunLengthMaskHead)
    same = sum(ours["counts"] == theirs["counts"] for ours, theirs in zip(found, expected, strict=True))
    sides = [lambda: run(FCNMaskHead), lambda: run(RunLengthMaskHead)]
    compare("100 masks, 1333x800", sides, runs, f"{same} RLEs of 100 equal")


def compare_boxes(num_images: int, num_detections: int, runs: int, folder: Path) -> None:
    """From predictions to the twelve numbers, reading the annotations included."""
    file, samples = synthetic(num_images, num_detections, folder)

    def vanilla() -> dict[str, float]:
        from mmdet.evaluation import CocoMetric

        return evaluated(CocoMetric(str(file), metric_items=["mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l"]))

    def evaluated(metric: Any) -> dict[str, float]:
        metric.dataset_meta = {"classes": CLASSES}
        for sample in samples:
            metric.process({}, [sample])
        return metric.evaluate(num_images)

    in_child(lambda: evaluated(ExactCoco(str(file))))  # compiles
    theirs, ours = [], []
    for _ in range(runs):
        theirs.append(in_child(vanilla))
        ours.append(in_child(lambda: evaluated(ExactCoco(str(file)))))
    pairs = zip(
        ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l"), ("AP", "AP50", "AP75", "APs", "APm", "APl"), strict=True
    )
    largest = max(abs(theirs[0].result[f"coco/bbox_{a}"] - ours[0].result[f"bbox_{b}"] / 100) for a, b in pairs)
    time_row(
        f"boxes: {num_images} images, {num_detections} detections",
        [child.spent for child in theirs],
        [child.spent for child in ours],
        f"largest difference {largest:.1e} (mmdet rounds to 1e-3)",
    )
    value_row("  memory above the predictions", [c.extra_mib for c in theirs], [c.extra_mib for c in ours], "MiB")


def synthetic(num_images: int, num_detections: int, folder: Path) -> tuple[Path, list[dict[str, Any]]]:
    """An annotation file and as many detections an image: objects displaced, by and by less, and others."""
    rng = np.random.default_rng(0)
    ids, per_image = list(CATEGORIES), num_detections // num_images
    images, annotations, samples = [], [], []
    for number in range(1, num_images + 1):
        images.append({"id": number, "file_name": f"{number}.jpg", "height": 480, "width": 640})
        count = max(1, rng.poisson(OBJECTS_PER_IMAGE))
        sides = np.exp(rng.uniform(np.log(8), np.log(300), (count, 2)))
        corners = rng.uniform(0, 1, (count, 2)) * (np.array([640, 480]) - sides)
        labels = rng.choice(len(ids), count, p=_long_tail(len(ids)))
        for corner, side, label in zip(corners, sides, labels, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": number, "category_id": ids[label], "iscrowd": 0,
                    "bbox": [*corner, *side], "area": float(side.prod() * 0.6),
                }
            )  # fmt: skip
        source = rng.integers(0, count, per_image)
        scores = rng.beta(0.6, 2, per_image)
        shift = rng.normal(0, 0.25, (per_image, 2)) * (1 - scores[:, None]) * sides[source]
        right = rng.random(per_image) < 0.3 + 0.7 * scores
        boxes = np.concatenate([corners[source] + shift, corners[source] + shift + sides[source]], axis=1)
        found = {
            "bboxes": torch.tensor(boxes, dtype=torch.float32),
            "scores": torch.tensor(scores, dtype=torch.float32),
            "labels": torch.tensor(np.where(right, labels[source], rng.integers(0, len(ids), per_image))),
        }
        samples.append(
            {"img_id": number, "img_path": f"{number}.jpg", "ori_shape": (480, 640), "pred_instances": found}
        )
    file = folder / "instances.json"
    categories = [{"id": number, "name": name} for number, name in CATEGORIES.items()]
    file.write_text(json.dumps({"info": {}, "images": images, "annotations": annotations, "categories": categories}))
    return file, samples


def _long_tail(number: int) -> np.ndarray:
    weights = 1 / np.arange(1, number + 1)
    return weights / weights.sum()


@dataclass(frozen=True)
class Child:
    """What a process of its own took, above what it had from this one, and found."""

    spent: Spent
    extra_mib: float
    result: dict[str, float]


def in_child(run: Callable[[], dict[str, float]]) -> Child:
    """Run in a process of its own, for the peak of its memory."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        results: list[dict[str, float]] = []
        with contextlib.redirect_stdout(io.StringIO()):
            spent = timed(lambda: results.append(run()))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        sender.send(Child(spent, peak - pages * os.sysconf("SC_PAGE_SIZE") / 2**20, results[0]))

    process = context.Process(target=work)
    process.start()
    sender.close()
    try:
        return receiver.recv()
    finally:
        process.join()


def first_calls() -> str:
    """What compiling costs once, and loading the compiled code in each process."""
    program = (
        "import time, torch\n"
        "from densebench.evaluation.mask_pasting import paste_and_encode\n"
        "start = time.perf_counter()\n"
        "paste_and_encode(torch.ones(1, 28, 28), torch.tensor([[0., 0, 9, 9]]), 20, 20, 0.5)\n"
        "print(time.perf_counter() - start)\n"
    )
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"NUMBA_CACHE_DIR": cache}
        run = [sys.executable, "-c", program]
        times = [float(subprocess.check_output(run, env=environment, text=True)) for _ in range(2)]
    return f"masks {times[0]:.1f} s where nothing is compiled yet, {times[1]:.2f} s after that"


if __name__ == "__main__":
    main()

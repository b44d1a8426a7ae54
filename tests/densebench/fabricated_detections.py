"""Detections made up from annotations, and their evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools import mask as run_lengths

from densebench.data.coco import CATEGORIES
from densebench.evaluation.coco_metric import ExactCoco

CLASSES = tuple(CATEGORIES.values())
IDS = tuple(CATEGORIES)


def fabricated(truth: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    """Samples as a detector gives them: most objects, displaced, some twice, some of another class."""
    rng = np.random.default_rng(seed)
    samples = []
    for image in truth["images"]:
        boxes, masks, labels = [], [], []
        for entry in (entry for entry in truth["annotations"] if entry["image_id"] == image["id"]):
            for _ in range(rng.integers(0, 3)):
                left, top, width, height = entry["bbox"]
                dx, dy = (round(float(shift)) for shift in rng.normal(0, 0.06, 2) * (width, height))
                boxes.append([left + dx, top + dy, left + dx + width, top + dy + height * rng.uniform(0.9, 1.1)])
                masks.append(np.roll(run_lengths.decode(entry["segmentation"]), (dy, dx), (0, 1)))
                right_class = rng.random() < 0.9
                labels.append(IDS.index(entry["category_id"]) if right_class else rng.integers(len(IDS)))
        samples.append(
            {
                "img_id": image["id"],
                "img_path": image["file_name"],
                "pred_instances": {
                    "bboxes": torch.tensor(np.array(boxes).reshape(-1, 4), dtype=torch.float32),
                    # Coarse, so that scores tie.
                    "scores": torch.tensor(rng.integers(5, 100, len(boxes)) / 100, dtype=torch.float32),
                    "labels": torch.tensor(np.array(labels, np.int64)),
                    "masks": torch.tensor(np.array(masks).reshape(-1, image["height"], image["width"]) > 0),
                },
            }
        )
    return samples


def evaluated(file: Path, samples: list[dict[str, Any]]) -> tuple[ExactCoco, dict[str, float]]:
    metric = ExactCoco(str(file))
    metric.dataset_meta = {"classes": CLASSES}
    for sample in samples:
        metric.process({}, [sample])
    return metric, metric.evaluate(len(samples))

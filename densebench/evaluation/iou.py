"""Mean intersection over union from exact integer counts, kept per image for the statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from numpy.typing import NDArray

from densebench.errors import DensebenchError

Counts = NDArray[np.int64]


@METRICS.register_module()
class ExactIoU(BaseMetric):
    """mIoU, mean accuracy and overall accuracy in percent, unrounded (Everingham et al., PASCAL VOC; mmseg's mIoU).

    mmseg's IoUMetric sums areas in float32, which loses pixels over a validation set, and rounds to 0.01; here the
    counts are int64. The per-image counts stay in `per_image` after an evaluation.

    Args:
        num_classes: classes of the task; pixels labelled `ignore_index` do not count.
    """

    default_prefix = None

    def __init__(self, num_classes: int, ignore_index: int = 255, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.per_image: dict[str, Any] = {}

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Count one batch."""
        for sample in data_samples:
            prediction = sample["pred_sem_seg"]["data"].squeeze(0).cpu().numpy()  # (1, H, W) -> (H, W)
            label = sample["gt_sem_seg"]["data"].squeeze(0).cpu().numpy()
            counts = area_counts(prediction, label, self.num_classes, self.ignore_index)
            self.results.append((sample["img_path"], counts))

    def compute_metrics(self, results: list[tuple[str, Counts]]) -> dict[str, float]:
        """The metrics over all images, in percent.

        Raises:
            DensebenchError: no pixel is labelled, so that there is nothing to measure.
        """
        counts = np.stack([image_counts for _, image_counts in results])  # (N, 3, classes)
        if not counts[:, 2].any():
            raise DensebenchError(
                f"no labelled pixel in the {len(results)} test images: the metric is not defined\n"
                "label some of them, or correct the ignore value (classes.txt)"
            )
        self.per_image = {
            "images": [path for path, _ in results],
            "intersections": counts[:, 0],
            "predicted": counts[:, 1],
            "labelled": counts[:, 2],
            "unions": counts[:, 1] + counts[:, 2] - counts[:, 0],
        }
        return summarize(counts.sum(axis=0))


def area_counts(prediction: NDArray[Any], label: NDArray[Any], num_classes: int, ignore_index: int) -> Counts:
    """(H, W) predictions and labels -> (3, num_classes) pixels: intersection, predicted area, labelled area."""
    counted = label != ignore_index
    label, prediction = label[counted].astype(np.int64), prediction[counted].astype(np.int64)
    joint = np.bincount(label * num_classes + prediction, minlength=num_classes * num_classes)
    confusion = joint.reshape(num_classes, num_classes)  # rows: label, columns: prediction
    return np.stack([np.diagonal(confusion), confusion.sum(axis=0), confusion.sum(axis=1)])


def class_iou(totals: Counts) -> NDArray[np.float64]:
    """(3, classes) summed counts -> IoU of each class in percent; nan where it is neither labelled nor predicted."""
    intersection, predicted, labelled = totals.astype(np.float64)
    union = predicted + labelled - intersection
    return 100 * np.divide(intersection, union, out=np.full_like(union, np.nan), where=union > 0)


def summarize(totals: Counts) -> dict[str, float]:
    """(3, classes) summed counts -> mIoU, mAcc, aAcc, and the mIoU of always naming the most frequent class."""
    intersection, _, labelled = totals.astype(np.float64)
    accuracy = np.divide(intersection, labelled, out=np.full_like(labelled, np.nan), where=labelled > 0)
    # Always naming class c scores area_c / area for c and 0 for every other class that occurs.
    majority = labelled.max() / labelled.sum() / max(int((labelled > 0).sum()), 1)
    return {
        "mIoU": float(np.nanmean(class_iou(totals))),
        "mAcc": float(100 * np.nanmean(accuracy)),
        "aAcc": float(100 * intersection.sum() / labelled.sum()),
        "majority_class_mIoU": float(100 * majority),
    }

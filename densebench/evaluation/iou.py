"""Mean intersection over union from exact integer counts, kept per image for the statistics."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from numpy.typing import NDArray

from densebench.errors import DensebenchError

Counts = NDArray[np.int64]

# Images whose labels and predictions wait to be counted; more of them would only take memory.
MAX_PENDING = 4


@METRICS.register_module()
class ExactIoU(BaseMetric):
    """mIoU, mean accuracy and overall accuracy in percent, unrounded (Everingham et al., PASCAL VOC; mmseg's mIoU).

    mmseg's IoUMetric sums areas in float32, which loses pixels over a validation set, and rounds to 0.01; here the
    counts are int64. The per-image counts stay in `per_image` after an evaluation. Counting runs beside the inference
    of the next images; what goes wrong there is raised by the next `process` or by `evaluate`.

    Args:
        num_classes: classes of the task; pixels labelled `ignore_index` do not count.
    """

    default_prefix = None

    def __init__(self, num_classes: int, ignore_index: int = 255, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.per_image: dict[str, Any] = {}
        self._thread: ThreadPoolExecutor | None = None
        self._pending: deque[Future[tuple[str, Counts]]] = deque()

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Count one batch, in a thread."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="iou")
        for sample in data_samples:
            self._pending.append(self._thread.submit(self._counted, sample))
        self._take(MAX_PENDING)

    def evaluate(self, size: int) -> dict[str, float]:
        """As mmengine's, when all images are counted."""
        try:
            self._take(0)
        finally:
            self._pending.clear()
            if self._thread is not None:
                self._thread.shutdown()
                self._thread = None
        metrics: dict[str, float] = super().evaluate(size)
        return metrics

    def _take(self, max_pending: int) -> None:
        """Take what is counted, and wait where more than so many images are not."""
        while self._pending and (len(self._pending) > max_pending or self._pending[0].done()):
            self.results.append(self._pending.popleft().result())

    def _counted(self, sample: dict[str, Any]) -> tuple[str, Counts]:
        prediction = sample["pred_sem_seg"]["data"].squeeze(0).cpu().numpy()  # (1, H, W) -> (H, W)
        label = sample["gt_sem_seg"]["data"].squeeze(0).cpu().numpy()
        return sample["img_path"], area_counts(prediction, label, self.num_classes, self.ignore_index)

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
    """(H, W) predictions and labels -> (3, num_classes) pixels: intersection, predicted area, labelled area.

    Raises:
        DensebenchError: a label that is neither a class nor `ignore_index`.
    """
    # One pass without a mask: unlabelled pixels are counted too, in a row of their own that is left out.
    joint = label.astype(np.int64)
    joint *= num_classes
    joint += prediction
    pairs = np.bincount(joint.ravel(), minlength=num_classes * max(num_classes, ignore_index + 1))
    by_label = np.append(pairs, np.zeros(-len(pairs) % num_classes, np.int64)).reshape(-1, num_classes)
    by_label[ignore_index] = 0
    confusion = by_label[:num_classes]  # rows: label, columns: prediction
    if by_label[num_classes:].any():
        found = num_classes + int(by_label[num_classes:].any(axis=1).argmax())
        raise DensebenchError(
            f"Labels of 0..{num_classes - 1} or {ignore_index} (ignored) were expected, found {found}: "
            "check the data set with tools/prepare_data.py check."
        )
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

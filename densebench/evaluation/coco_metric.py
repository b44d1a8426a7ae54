"""COCO's average precision of boxes and masks, unrounded, with the detections kept for the statistics."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from faster_coco_eval import COCO, COCOeval_faster
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from numpy.typing import NDArray
from pycocotools import mask as run_lengths

from densebench.data.coco import read_annotations
from densebench.errors import DensebenchError

# The twelve numbers in the order in which COCO's own evaluation gives them.
NUMBERS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


@METRICS.register_module()
class ExactCoco(BaseMetric):
    """AP and AR of boxes (`bbox_AP`, ...) and, where the model predicts masks, of masks (`segm_AP`, ...), in percent.

    Equal to pycocotools in all numbers; mmdet's CocoMetric rounds to 0.001. A number that is not defined, for lack of
    objects of that size, is nan. After an evaluation the detections are in `per_image`.

    Args:
        ann_file: COCO's instances_*.json of the tested split.
    """

    default_prefix = None

    def __init__(self, ann_file: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ann_file = Path(ann_file)
        self.per_image: dict[str, Any] = {}

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep the detections of one batch, masks as run lengths."""
        for sample in data_samples:
            found = sample["pred_instances"]
            result = {
                "image_id": sample["img_id"],
                "path": sample["img_path"],
                "boxes": _array(found["bboxes"]).astype(np.float64),  # (N, 4): left, top, right, bottom
                "scores": _array(found["scores"]).astype(np.float64),
                "labels": _array(found["labels"]).astype(np.int64),
            }
            if "masks" in found:
                # (N, H, W) -> N run lengths
                masks = np.asfortranarray(_array(found["masks"]).transpose(1, 2, 0).astype(np.uint8))
                result["masks"] = run_lengths.encode(masks)
            self.results.append(result)

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """The metrics over all images, in percent.

        Raises:
            DensebenchError: the annotation file cannot be read, or lacks classes of the model.
        """
        truth = read_annotations(self.ann_file)
        ids = category_ids(truth, self.dataset_meta["classes"], self.ann_file)
        image_ids = [result["image_id"] for result in results]
        self.per_image = packed(results, ids)
        metrics = evaluate(truth, boxes_of(results, ids), image_ids, list(ids), "bbox")
        if results and all("masks" in result for result in results):
            metrics |= evaluate(truth, masks_of(results, ids), image_ids, list(ids), "segm")
        return metrics


def evaluate(
    truth: Mapping[str, Any],
    detections: list[dict[str, Any]],
    image_ids: Sequence[int],
    categories: Sequence[int],
    kind: str,
) -> dict[str, float]:
    """The twelve numbers of COCO's evaluation in percent; `kind` is "bbox" or "segm".

    `truth` is the content of an instances_*.json, `detections` that of a file of results; neither is changed.
    """
    index = COCO(copy.deepcopy(dict(truth)))
    evaluation = COCOeval_faster(index, index.loadRes(copy.deepcopy(detections)), kind)
    evaluation.params.imgIds = list(image_ids)
    evaluation.params.catIds = list(categories)
    evaluation.run()
    # -1 stands for not defined.
    return {
        f"{kind}_{name}": 100 * float(value) if value >= 0 else float("nan")
        for name, value in zip(NUMBERS, evaluation.stats[: len(NUMBERS)], strict=True)
    }


def boxes_of(results: Sequence[Mapping[str, Any]], ids: Sequence[int]) -> list[dict[str, Any]]:
    """Detections as COCO's format of results has boxes: left, top, width, height."""
    return [
        {
            "image_id": result["image_id"],
            "category_id": ids[label],
            "bbox": [left, top, right - left, bottom - top],
            "score": score,
        }
        for result in results
        for (left, top, right, bottom), label, score in zip(
            result["boxes"].tolist(), result["labels"].tolist(), result["scores"].tolist(), strict=True
        )
    ]


def masks_of(results: Sequence[Mapping[str, Any]], ids: Sequence[int]) -> list[dict[str, Any]]:
    """Detections as COCO's format of results has masks.

    Without boxes: with one, COCO's evaluation would take small, medium and large from the box, not from the mask.
    """
    return [
        {"image_id": result["image_id"], "category_id": ids[label], "segmentation": mask, "score": score}
        for result in results
        for mask, label, score in zip(
            result["masks"], result["labels"].tolist(), result["scores"].tolist(), strict=True
        )
    ]


def category_ids(truth: Mapping[str, Any], classes: Sequence[str], file: Path) -> tuple[int, ...]:
    """The category id of each class index.

    Raises:
        DensebenchError: the annotation file lacks classes of the model.
    """
    ids = {category["name"]: category["id"] for category in truth["categories"]}
    missing = [name for name in classes if name not in ids]
    if missing:
        raise DensebenchError(f"{file} lacks {len(missing)} categories of the model: {', '.join(missing[:5])}")
    return tuple(ids[name] for name in classes)


def packed(results: Sequence[Mapping[str, Any]], ids: Sequence[int]) -> dict[str, Any]:
    """All detections as arrays from which any selection of images can be evaluated again.

    `image_ids` (N); and for each of the D detections `detection_image` (an index into the images), `category_ids`,
    `scores`, `boxes` (D, 4); and with masks `mask_lengths` (D) and `mask_counts`, the run lengths' bytes in a row.
    """
    counts = [mask["counts"] for result in results for mask in result.get("masks", ())]
    arrays: dict[str, Any] = {
        "images": [result["path"] for result in results],
        "image_ids": np.array([result["image_id"] for result in results], np.int64),
        "detection_image": np.repeat(np.arange(len(results)), [len(result["labels"]) for result in results]),
        "category_ids": np.array(ids, np.int64)[_joined(results, "labels", np.zeros(0, np.int64))],
        "scores": _joined(results, "scores", np.zeros(0)),
        "boxes": _joined(results, "boxes", np.zeros((0, 4))),
    }
    if counts:
        arrays["mask_lengths"] = np.array([len(count) for count in counts], np.int64)
        arrays["mask_counts"] = np.frombuffer(b"".join(counts), np.uint8)
    return arrays


def _joined(results: Sequence[Mapping[str, Any]], key: str, empty: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([empty, *(result[key] for result in results)])


def _array(values: Any) -> NDArray[Any]:
    return values.detach().cpu().float().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)

"""COCO's average precision of boxes and masks, unrounded, with detections and matches kept for the statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from numpy.typing import NDArray
from pycocotools import mask as run_lengths

from densebench.evaluation.coco_truth import Truth, read_truth


@METRICS.register_module()
class ExactCoco(BaseMetric):
    """AP and AR of boxes (`bbox_AP`, ...) and, where the model predicts masks, of masks (`segm_AP`, ...), in percent.

    Equal to pycocotools in all numbers; mmdet's CocoMetric rounds to 0.001. A number that is not defined, for lack of
    objects of that size, is nan. The annotations are read at the first evaluation. After an evaluation `per_image`
    holds the detections (`packed`) and the matches (`matched`).

    An object whose annotation has the id 0 can be found like any other; pycocotools takes it for never found.

    Args:
        ann_file: COCO's instances_*.json of the tested split.
    """

    default_prefix = None

    def __init__(self, ann_file: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ann_file = Path(ann_file)
        self.per_image: dict[str, Any] = {}
        self._truth: Truth | None = None

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
                result["masks"] = encoded(found["masks"])
            self.results.append(result)

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """The metrics over all images, in percent.

        Raises:
            DensebenchError: the annotation file cannot be read, lacks classes of the model or tested images, or has
                no masks where the model predicts some.
        """
        from densebench.evaluation.coco_accumulation import matches_of, numbers  # here, because it imports numba

        if self._truth is None:
            self._truth = read_truth(self.ann_file, self.dataset_meta["classes"])
        self.per_image = packed(results, self._truth) | matched(results, self._truth)
        return {
            f"{kind}_{name}": value
            for kind in ("bbox", "segm")
            if f"{kind}_matched" in self.per_image
            for name, value in numbers(matches_of(self.per_image, kind)).items()
        }


def encoded(masks: Any) -> list[dict[str, Any]]:
    """Masks as run lengths: N of them as they are, or (N, H, W) pictures encoded."""
    if isinstance(masks, list):
        return masks
    pictures = masks.cpu().numpy() if isinstance(masks, torch.Tensor) else masks
    # (N, H, W) -> (H, W, N), each mask's columns in a row of memory
    rle: list[dict[str, Any]] = run_lengths.encode(pictures.transpose(1, 2, 0).astype(np.uint8, order="F"))
    return rle


def packed(results: Sequence[Mapping[str, Any]], truth: Truth) -> dict[str, Any]:
    """All detections as arrays from which any selection of images can be evaluated again.

    `image_ids` (I), `image_sizes` (I, 2: height, width), `evaluated_category_ids` (K); and for each of the D detections
    `detection_image` (an index into the images), `category_ids`, `scores`, `boxes` (D, 4: left, top, right, bottom);
    and with masks `mask_lengths` (D) and `mask_counts`, the run lengths' bytes in a row.
    """
    image_ids = np.array([result["image_id"] for result in results], np.int64)
    category_ids = np.array(truth.category_ids, np.int64)
    arrays: dict[str, Any] = {
        "images": [result["path"] for result in results],
        "image_ids": image_ids,
        "image_sizes": truth.image_sizes[truth.images_of(image_ids)],
        "evaluated_category_ids": category_ids,
        "detection_image": np.repeat(np.arange(len(results)), [len(result["labels"]) for result in results]),
        "category_ids": category_ids[_joined(results, "labels", np.zeros(0, np.int64))],
        "scores": _joined(results, "scores", np.zeros(0)),
        "boxes": _joined(results, "boxes", np.zeros((0, 4))),
    }
    if _have_masks(results):
        counts = [mask["counts"] for result in results for mask in result["masks"]]
        arrays["mask_lengths"] = np.array([len(count) for count in counts], np.int64)
        arrays["mask_counts"] = np.frombuffer(b"".join(counts), np.uint8)
    return arrays


def matched(results: Sequence[Mapping[str, Any]], truth: Truth) -> dict[str, NDArray[Any]]:
    """What was found of the objects, image by image: all that AP and AR are made of.

    `match_detection` (M), the detections that count; `bbox_matched` and `bbox_ignored` (M, 64 bits each), and `segm_*`
    with masks: bit 10 a + t tells whether it found an object at threshold t (0.50, 0.55, ...) for range of area a (all,
    small, medium, large), and whether it is left out. `truth_image`, `truth_category` (G) and `truth_counts` (G, 4, by
    range of area) count the objects of images and categories.
    """
    # Here, because it imports numba, and the first image need not wait for that.
    from densebench.evaluation.coco_matching import Detections, match_boxes, match_masks, ranked, truth_counts

    images = truth.images_of([result["image_id"] for result in results])
    detections = Detections(
        image=np.repeat(images, [len(result["labels"]) for result in results]),
        category=_joined(results, "labels", np.zeros(0, np.int64)),
        scores=_joined(results, "scores", np.zeros(0)),
        boxes=_joined(results, "boxes", np.zeros((0, 4))),
        masks=[mask for result in results for mask in result.get("masks", ())],
    )
    ranking = ranked(detections, truth)
    counts = truth_counts(truth, images)
    # From the truth's images to the tested ones.
    place = np.zeros(len(truth.image_ids), np.int64)
    place[images] = np.arange(len(images))
    arrays = {"match_detection": ranking.detection} | counts | {"truth_image": place[counts["truth_image"]]}
    kinds = {"bbox": match_boxes} | ({"segm": match_masks} if _have_masks(results) else {})
    for kind, match in kinds.items():
        arrays |= {f"{kind}_{name}": bits for name, bits in match(detections, truth, ranking).items()}
    return arrays


def _have_masks(results: Sequence[Mapping[str, Any]]) -> bool:
    return bool(results) and all("masks" in result for result in results)


def _joined(results: Sequence[Mapping[str, Any]], key: str, empty: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([empty, *(result[key] for result in results)])


def _array(values: Any) -> NDArray[Any]:
    return values.detach().cpu().float().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)

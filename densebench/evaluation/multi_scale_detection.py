"""Multi-scale testing of detectors in two passes, boxes first and then masks, a view at a time."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmcv.ops import batched_nms
from mmdet.models.detectors import SingleStageDetector, TwoStageDetector
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from mmdet.structures.bbox import bbox2roi, bbox_flip, scale_boxes
from mmengine.model import BaseTTAModel
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from densebench.errors import DensebenchError

Batch = dict[str, Any]  # one view of every image: `inputs` and `data_samples`, each a list over the images

_FLIPPED_AXES = {"horizontal": (-1,), "vertical": (-2,), "diagonal": (-2, -1)}  # of masks (..., H, W)


@MODELS.register_module()
class TwoPassMultiScaleDetection(BaseTTAModel):
    """Boxes of all views suppressed together, then the mask probabilities of the boxes that remain, averaged.

    First pass: every view's boxes and class scores as they are before their suppression, above the recipe's score
    threshold, mapped to one frame; over all of them one suppression of the recipe's kind, class by class. Second
    pass: the remaining boxes mapped into every view, the mask head's probabilities there flipped back, averaged, and
    pasted once at the original size. With a single view that is not flipped the result is the detector's own, to the
    last bit.

    Each view runs through the network twice where there are masks, so that the feature maps of one view alone are
    alive at any time; what is kept of a view is its candidate boxes.
    """

    def __init__(self, module: Any, data_preprocessor: Any = None) -> None:
        super().__init__(module, data_preprocessor)
        _require_supported(self.module)
        self.two_stage = isinstance(self.module, TwoStageDetector)

    def test_step(self, data: dict[str, Any]) -> list[Any]:
        """One batch of views, `inputs[view][image]`, to one prediction per image, in the original image's pixels.

        Raises:
            DensebenchError: images instead of lists of views.
        """
        if torch.is_tensor(data["inputs"][0]):
            raise DensebenchError(
                "Multi-scale testing takes all views of an image, but the data holds one; state the views of the "
                "recipe's test_ms: scales=((long, short), ...), flip=True or False."
            )
        batches = [{key: value[view] for key, value in data.items()} for view in range(len(data["inputs"]))]
        frames = self._views(batches[0])
        candidates: list[list[InstanceData]] = [[] for _ in frames]
        for batch in batches:
            for kept, found in zip(candidates, self._candidates(batch, frames), strict=True):
                kept.append(found)
        settings = (self.module.roi_head if self.two_stage else self.module.bbox_head).test_cfg
        results = [suppressed(InstanceData.cat(found), settings) for found in candidates]
        if self.module.with_mask:
            self._add_masks(results, batches, frames)
        merged: list[Any] = self.module.add_pred_to_datasample(batches[0]["data_samples"], results)
        return merged

    def merge_preds(self, data_samples_list: list[Any]) -> list[Any]:
        """Not used: `test_step` merges as it goes."""
        raise NotImplementedError("TwoPassMultiScaleDetection merges in test_step")

    def _candidates(self, batch: Batch, frames: Sequence[View]) -> list[InstanceData]:
        """Per image the boxes of one view before their suppression, in that image's frame."""
        features, samples = self._features(batch)
        metas = [sample.metainfo for sample in samples]
        if self.two_stage:
            roi_head = self.module.roi_head
            proposals = self.module.rpn_head.predict(features, samples, rescale=False)
            raw = roi_head.predict_bbox(
                features, metas, proposals, rcnn_test_cfg=None, rescale=not self.module.with_mask
            )
            found = [above_threshold(one.bboxes, one.scores, roi_head.test_cfg.score_thr) for one in raw]
        else:
            head = self.module.bbox_head
            found = head.predict_by_feat(*head(features), batch_img_metas=metas, rescale=True, with_nms=False)
        for one, view, frame in zip(found, self._views(batch), frames, strict=True):
            one.bboxes = to_frame(one.bboxes, view, frame)
        return list(found)

    def _add_masks(self, results: Sequence[InstanceData], batches: Sequence[Batch], frames: Sequence[View]) -> None:
        """Add `masks` (N, H, W) to each image's result, and scale its boxes to the original image."""
        roi_head = self.module.roi_head
        counts = [len(result) for result in results]
        probabilities: Sequence[Any] = [None] * len(counts)
        if sum(counts) > 0:
            total = self._mask_probabilities(batches[0], results, frames)
            for batch in batches[1:]:
                total += self._mask_probabilities(batch, results, frames)
            probabilities = (total / len(batches)).split(counts)
        head = roi_head.mask_head[-1] if isinstance(roi_head, CascadeRoIHead) else roi_head.mask_head
        with warnings.catch_warnings():
            # mmdet copies probabilities in a way that torch advises against.
            warnings.filterwarnings("ignore", message="To copy construct from a tensor")
            head.predict_by_feat(
                probabilities,
                results,
                [sample.metainfo for sample in batches[0]["data_samples"]],
                roi_head.test_cfg,
                rescale=True,
                activate_map=True,  # the maps are probabilities already
            )

    def _mask_probabilities(self, batch: Batch, results: Sequence[InstanceData], frames: Sequence[View]) -> Tensor:
        """(boxes of all images, classes, h, w): the masks that one view shows in the merged boxes, flipped back."""
        roi_head = self.module.roi_head
        views = self._views(batch)
        boxes = [
            from_frame(result.bboxes, view, frame) for result, view, frame in zip(results, views, frames, strict=True)
        ]
        features, _ = self._features(batch)
        probabilities = _mask_head_probabilities(roi_head, features, bbox2roi(boxes))
        per_image = probabilities.split([len(result) for result in results])
        return torch.cat(
            [
                masks.flip(_FLIPPED_AXES[view.flip]) if view.flip is not None else masks
                for masks, view in zip(per_image, views, strict=True)
            ]
        )

    def _features(self, batch: Batch) -> tuple[tuple[Tensor, ...], list[Any]]:
        """The feature pyramid of one view of every image, and the data samples on the model's device."""
        prepared = self.module.data_preprocessor(batch, False)
        return self.module.extract_feat(prepared["inputs"]), prepared["data_samples"]

    def _views(self, batch: Batch) -> list[View]:
        """The views in whose pixels the detector gives its boxes before their suppression.

        mmdet suppresses boxes that masks are predicted for in the resized image, boxes alone in the original one.
        """
        return [View.of(sample.metainfo, resized=self.module.with_mask) for sample in batch["data_samples"]]


@dataclass(frozen=True)
class View:
    """How the pixels that boxes are given in lie over the original image."""

    shape: tuple[int, int]  # height and width in pixels
    scale: tuple[float, float]  # pixels per pixel of the original image, across and down
    flip: str | None  # mmdet's name of the direction

    @classmethod
    def of(cls, meta: dict[str, Any], *, resized: bool) -> View:
        """The view that mmdet's transforms told of, or with `resized` False, of its flip alone."""
        flip = meta["flip_direction"] if meta.get("flip") else None
        if resized:
            return cls(tuple(meta["img_shape"][:2]), tuple(meta["scale_factor"]), flip)
        return cls(tuple(meta["ori_shape"][:2]), (1.0, 1.0), flip)


def to_frame(boxes: Tensor, view: View, frame: View) -> Tensor:
    """Boxes (N, 4) of a view in the pixels of another, `frame`, as if that were not flipped.

    The frame is an image's first view and not the original image: suppression decides on rounded overlaps, so the
    same boxes in other units may lose another one of them. Between equal scales nothing is rounded.
    """
    if view.flip is not None:
        boxes = bbox_flip(boxes, view.shape, view.flip)
    scaled: Tensor = scale_boxes(boxes, (frame.scale[0] / view.scale[0], frame.scale[1] / view.scale[1]))
    return scaled


def from_frame(boxes: Tensor, view: View, frame: View) -> Tensor:
    """The inverse of `to_frame`."""
    boxes = scale_boxes(boxes, (view.scale[0] / frame.scale[0], view.scale[1] / frame.scale[1]))
    return bbox_flip(boxes, view.shape, view.flip) if view.flip is not None else boxes


def above_threshold(boxes: Tensor, scores: Tensor, threshold: float) -> InstanceData:
    """One candidate for each proposal and class whose score is above the threshold.

    `boxes` is (N, classes * 4), or (N, 4) for regression without classes; `scores` (N, classes + 1), background last.
    """
    proposals, labels = (scores[:, :-1] > threshold).nonzero(as_tuple=True)
    boxes = boxes.unflatten(1, (-1, 4))  # (N, classes or 1, 4)
    columns = labels if boxes.shape[1] > 1 else torch.zeros_like(labels)
    return InstanceData(bboxes=boxes[proposals, columns], scores=scores[proposals, labels], labels=labels)


def suppressed(candidates: InstanceData, settings: Any) -> InstanceData:
    """What remains of an image's candidates, best first, by the recipe's `nms` within each class and `max_per_img`."""
    if len(candidates) == 0:
        return candidates
    boxes, kept = batched_nms(candidates.bboxes, candidates.scores, candidates.labels, settings.nms)
    limit = settings.max_per_img if settings.max_per_img > 0 else len(kept)
    # Soft suppression lowers scores.
    return InstanceData(bboxes=boxes[:limit, :4], scores=boxes[:limit, 4], labels=candidates.labels[kept[:limit]])


def _mask_head_probabilities(roi_head: Any, features: tuple[Tensor, ...], rois: Tensor) -> Tensor:
    """(N, classes, h, w) for regions (N, 5); a cascade's is the mean over its stages."""
    if isinstance(roi_head, CascadeRoIHead):
        stages = [
            roi_head._mask_forward(stage, features, rois)["mask_preds"].sigmoid()
            for stage in range(roi_head.num_stages)
        ]
        return torch.stack(stages).mean(dim=0).float()
    probabilities: Tensor = roi_head._mask_forward(features, rois)["mask_preds"].sigmoid().float()
    return probabilities


def _require_supported(module: Any) -> None:
    # By their exact types: a class derived from these may predict by other steps than the two passes take.
    if isinstance(module, TwoStageDetector) and type(module.roi_head) in (StandardRoIHead, CascadeRoIHead):
        return
    if isinstance(module, SingleStageDetector) and not module.with_mask:
        return
    parts = type(module).__name__ + (f" with {type(module.roi_head).__name__}" if hasattr(module, "roi_head") else "")
    raise DensebenchError(
        f"Multi-scale testing knows two-stage detectors with StandardRoIHead or CascadeRoIHead, and single-stage "
        f"detectors of boxes, not {parts}; test it at a single scale, without --aug-test."
    )

"""The losses of a training step on a batch without content; what they are computed from has the shapes of training.

What depends on contents (which anchors match, which boxes are suppressed) cannot run without them. A detector's heads
get the numbers of regions that a recipe samples: 512 an image for a box head, and the quarter of them that may lie on
objects for a mask head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import PixelData
from torch import Tensor, nn
from torch.nn import functional

from densebench.cost.count import is_detector


def training_loss(model: nn.Module, images: Tensor) -> Tensor:
    """The sum of a model's losses on a batch of normalized images (N, 3, H, W) and targets of the right shapes."""
    if not is_detector(model):
        return _sum(_segmentor_losses(model, images))
    detector: Any = model
    levels = detector.extract_feat(images)
    if not hasattr(detector, "roi_head"):
        return _single_stage_loss(detector, levels)
    num_images = images.shape[0]
    loss = _proposal_loss(detector.rpn_head, levels)
    roi_head = detector.roi_head
    boxes = _stages(roi_head.bbox_head)
    for stage, box_head in enumerate(boxes):
        sampler = (detector.train_cfg.rcnn[stage] if len(boxes) > 1 else detector.train_cfg.rcnn).sampler
        loss = loss + _box_loss(roi_head, stage, box_head, levels, num_images * sampler.num)
        if roi_head.with_mask:
            on_objects = num_images * int(sampler.num * sampler.pos_fraction)
            loss = loss + _mask_loss(roi_head, stage, levels, on_objects)
    return loss


def _segmentor_losses(model: Any, images: Tensor) -> dict[str, Any]:
    from mmseg.structures import SegDataSample

    num_images, _, height, width = images.shape
    samples = []
    for _ in range(num_images):
        sample = SegDataSample(metainfo={"img_shape": (height, width)})
        sample.gt_sem_seg = PixelData(data=torch.zeros(1, height, width, dtype=torch.long))
        samples.append(sample)
    losses: dict[str, Any] = model.loss(images, samples)
    return losses


def _proposal_loss(head: Any, levels: Sequence[Tensor]) -> Tensor:
    """Over all anchors, as mmdet's AnchorHead; the targets of all levels are there before the first level's loss."""
    scores, boxes = head(levels)
    targets = []
    for level_boxes in boxes:
        num_images, coordinates, height, width = level_boxes.shape
        anchors = coordinates // 4 * height * width
        labels = torch.zeros(num_images, anchors, dtype=torch.long)
        per_box = [torch.zeros(num_images, anchors, 4) for _ in range(3)]  # anchors, targets, weights
        targets.append((per_box[0], labels, torch.zeros(num_images, anchors), *per_box[1:]))
    losses = [
        head.loss_by_feat_single(level_scores, level_boxes, *level_targets, avg_factor=256)
        for level_scores, level_boxes, level_targets in zip(scores, boxes, targets, strict=True)
    ]
    return _sum([part for level in losses for part in level])


def _box_loss(roi_head: Any, stage: int, head: Any, levels: Sequence[Tensor], number: int) -> Tensor:
    rois = torch.zeros(number, 5)
    is_cascade = isinstance(roi_head.bbox_head, nn.ModuleList)
    found = roi_head._bbox_forward(stage, levels, rois) if is_cascade else roi_head._bbox_forward(levels, rois)
    labels, boxes = torch.zeros(number, dtype=torch.long), [torch.zeros(number, 4) for _ in range(2)]
    return _sum(head.loss(found["cls_score"], found["bbox_pred"], rois, labels, torch.zeros(number), *boxes))


def _mask_loss(roi_head: Any, stage: int, levels: Sequence[Tensor], number: int) -> Tensor:
    rois = torch.zeros(number, 5)
    is_cascade = isinstance(roi_head.mask_head, nn.ModuleList)
    found = roi_head._mask_forward(stage, levels, rois) if is_cascade else roi_head._mask_forward(levels, rois)
    masks = found["mask_preds"]  # (number, classes, 28, 28)
    head = _stages(roi_head.mask_head)[stage if is_cascade else 0]
    targets = torch.zeros(number, *masks.shape[2:])
    loss: Tensor = head.loss_mask(masks, targets, torch.zeros(number, dtype=torch.long))
    return _sum(loss)


def _single_stage_loss(detector: Any, levels: Sequence[Tensor]) -> Tensor:
    """FCOS: a focal loss on all points and classes; boxes and centerness of the points on objects are few."""
    outputs = detector.bbox_head(levels)
    scores, boxes, centers = (
        torch.cat([level.permute(0, 2, 3, 1).reshape(-1, level.shape[1]) for level in kind]) for kind in outputs
    )
    # A kernel that keeps its input and computes the gradient anew, as the focal loss of mmcv.
    loss = functional.binary_cross_entropy_with_logits(scores, torch.zeros_like(scores), reduction="none").sum()
    return loss + boxes.float().sum() + centers.float().sum()


def _stages(module: Any) -> list[Any]:
    return list(module) if isinstance(module, nn.ModuleList) else [module]


def _sum(losses: Any) -> Tensor:
    """Of what mmdet and mmseg return: tensors in dicts and lists, accuracies among them."""
    if isinstance(losses, Tensor):
        return losses.sum()
    if isinstance(losses, dict):
        losses = [value for name, value in losses.items() if "loss" in name]
    return torch.stack([_sum(value).float() for value in losses]).sum()

"""Non-maximum suppression, hard and soft. Boxes are (x1, y1, x2, y2) in pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from densebench.mmcv_ops.kernels import full_precision, torchvision_kernels

_LINEAR, _GAUSSIAN = 1, 2  # mmcv's codes of the ways in which soft-NMS lowers a score; 0 is naive


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices (K,) of the kept ones of boxes (N, 4) with scores (N,), by falling score.

    A box is dropped where its IoU with a kept one is above the threshold. With offset 1, x2 and y2 are a
    box's last pixels inside, and its width is x2 - x1 + 1.
    """
    boxes = full_precision(boxes)
    boxes = torch.cat((boxes[:, :2], boxes[:, 2:] + offset), dim=1)
    kept: Tensor = torchvision_kernels().nms(boxes, scores.to(boxes.dtype), iou_threshold)
    return kept


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Writes the K kept boxes and their lowered scores into dets[:K] (N, 5) and returns their indices (K,).

    Soft-NMS (Bodla et al., 2017), sec. 3. In each round the best box is kept, the scores of the others fall
    with their IoU with it, and those below min_score are dropped. Of equal scores the first box is taken.
    Methods: 0 naive (the score times 0 from the threshold on), 1 linear (times 1 - IoU from the threshold
    on), 2 gaussian (times exp(-IoU^2 / sigma)).
    """
    boxes, scores = full_precision(boxes), full_precision(scores)
    index = torch.arange(len(boxes))
    kept: list[int] = []
    while len(index):  # index, boxes and scores hold what is left
        best = int(scores.argmax())
        dets[len(kept), :4] = boxes[best]
        dets[len(kept), 4] = scores[best]
        kept.append(int(index[best]))

        scores = scores * _decay(_iou(boxes[best], boxes, offset), iou_threshold, sigma, method)
        left = scores >= min_score
        left[best] = False
        index, boxes, scores = index[left], boxes[left], scores[left]
    return torch.tensor(kept, dtype=torch.long)


def _iou(box: Tensor, others: Tensor, offset: int) -> Tensor:
    """IoU (N,) of one box (4,) with others (N, 4); 0 where both are empty."""
    sides = torch.minimum(box[2:], others[:, 2:]) - torch.maximum(box[:2], others[:, :2]) + offset
    intersection = sides.clamp(min=0).prod(dim=1)
    areas = (others[:, 2:] - others[:, :2] + offset).prod(dim=1)
    union = (box[2:] - box[:2] + offset).prod() + areas - intersection
    return torch.where(union > 0, intersection / union, 0.0)


def _decay(overlap: Tensor, iou_threshold: float, sigma: float, method: int) -> Tensor:
    """The factors (N,) by which the scores of boxes with this IoU (N,) fall."""
    if method == _GAUSSIAN:
        return torch.exp(-(overlap**2) / sigma)
    lowered = 1 - overlap if method == _LINEAR else torch.zeros_like(overlap)
    return torch.where(overlap >= iou_threshold, lowered, 1.0)

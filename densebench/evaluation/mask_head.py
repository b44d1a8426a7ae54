"""Mask heads whose test gives run lengths in place of full-size pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmengine.registry import MODELS
from torch import Tensor

if TYPE_CHECKING:
    from densebench.evaluation.mask_pasting import RunLengths


@MODELS.register_module()
class RunLengthMaskHead(FCNMaskHead):
    """mmdet's FCNMaskHead, same parameters and training; a test's `masks` are a list of N run lengths.

    They are those of the head's own (N, H, W) tensor, which a test at COCO's sizes fills with 100 MB an image.
    """

    def _predict_by_feat_single(
        self,
        mask_preds: Tensor,
        bboxes: Tensor,
        labels: Tensor,
        img_meta: dict[str, Any],
        rcnn_test_cfg: Any,
        rescale: bool = False,
        activate_map: bool = False,
    ) -> list[RunLengths] | Tensor:
        """(N, classes or 1, 28, 28) logits, or probabilities with `activate_map` -> the masks of N boxes (N, 4).

        As in the head itself, `rescale` divides the boxes by the image's scale, in place.
        """
        from densebench.evaluation.mask_pasting import paste_and_encode  # here, because it imports numba

        threshold = rcnn_test_cfg.mask_thr_binary
        if not rescale or threshold <= 0:  # masks at the network's input size, or grey ones: to look at, not to test
            masks: Tensor = super()._predict_by_feat_single(
                mask_preds, bboxes, labels, img_meta, rcnn_test_cfg, rescale, activate_map
            )
            return masks
        bboxes /= bboxes.new_tensor(img_meta["scale_factor"]).repeat((1, 2))
        classes = torch.zeros_like(labels) if self.class_agnostic else labels
        chosen = torch.as_tensor(mask_preds)[
            torch.arange(len(labels), device=mask_preds.device), classes
        ]  # (N, 28, 28)
        # Several stages' merged masks (Cascade Mask R-CNN's test) come as probabilities.
        probabilities = chosen if activate_map else chosen.sigmoid()
        height, width = img_meta["ori_shape"][:2]
        return paste_and_encode(probabilities, bboxes, height, width, threshold)

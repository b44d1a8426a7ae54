"""Overrides that make a recipe of Mask R-CNN with ConvNeXt small enough for seconds."""

from typing import Any

TINY_MASK_RCNN: dict[str, Any] = {
    "model.backbone.depths": (1, 1, 1, 1),
    "model.backbone.dims": (8, 12, 16, 24),
    "model.neck.out_channels": 16,
    "model.rpn_head.in_channels": 16,
    "model.rpn_head.feat_channels": 16,
    "model.roi_head.bbox_roi_extractor.out_channels": 16,
    "model.roi_head.mask_roi_extractor.out_channels": 16,
    "model.roi_head.bbox_head.in_channels": 16,
    "model.roi_head.bbox_head.fc_out_channels": 32,
    "model.roi_head.mask_head.in_channels": 16,
    "model.roi_head.mask_head.conv_out_channels": 16,
    "model.test_cfg.rcnn.max_per_img": 10,
}

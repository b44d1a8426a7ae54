"""Detectors of each kind with a few channels and weights that find boxes all over any image."""

from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope
from torch import nn

CLASSES = 3
CHANNELS = 8
STRIDES = (4, 8, 16, 32)
# Of the last layers, the weights' standard deviation and the bias: scores and masks that differ from place to place,
# boxes of some ten pixels that stay near their origin.
LAST_LAYERS = {
    ("fc_cls", "conv_logits", "rpn_cls"): (2.0, 0.0),
    ("conv_cls", "conv_centerness"): (0.5, 0.0),
    ("fc_reg", "rpn_reg"): (0.1, 0.0),
    ("conv_reg",): (0.1, 2.5),
}


def build(kind: str, **test_settings: Any) -> nn.Module:
    """A detector of one of KINDS; `test_settings` replace entries of its final test settings."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(ConfigDict(KINDS[kind](test_settings))).eval()
    for name, layer in model.named_modules():
        for ends, (spread, bias) in LAST_LAYERS.items():
            if name.endswith(ends):
                nn.init.normal_(layer.weight, std=spread)
                nn.init.constant_(layer.bias, bias)
    return model


def _mask_rcnn(test_settings: dict[str, Any]) -> dict[str, Any]:
    box_head = _box_head(stds=(0.1, 0.1, 0.2, 0.2), class_agnostic=False)
    return _two_stage("MaskRCNN", {"type": "StandardRoIHead", **_roi_parts(box_head)}, test_settings)


def _faster_rcnn(test_settings: dict[str, Any]) -> dict[str, Any]:
    box_head = _box_head(stds=(0.1, 0.1, 0.2, 0.2), class_agnostic=True)
    roi_head = {"type": "StandardRoIHead", **_roi_parts(box_head)}
    del roi_head["mask_roi_extractor"], roi_head["mask_head"]
    return _two_stage("FasterRCNN", roi_head, test_settings)


def _cascade_mask_rcnn(test_settings: dict[str, Any]) -> dict[str, Any]:
    stages = [_box_head((0.1, 0.1, 0.2, 0.2), False), _box_head((0.05, 0.05, 0.1, 0.1), False)]
    parts = _roi_parts(stages)
    parts["mask_head"] = [parts["mask_head"]] * 2  # a mask head a stage, averaged
    roi_head = {"type": "CascadeRoIHead", "num_stages": 2, "stage_loss_weights": [1, 0.5], **parts}
    return _two_stage("CascadeRCNN", roi_head, test_settings)


def _fcos(test_settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "FCOS",
        **_pyramid(),
        "bbox_head": {
            "type": "FCOSHead",
            "num_classes": CLASSES,
            "in_channels": CHANNELS,
            "feat_channels": CHANNELS,
            "stacked_convs": 1,
            "strides": STRIDES,
            "regress_ranges": ((-1, 16), (16, 32), (32, 64), (64, 1e8)),
            "norm_cfg": {"type": "GN", "num_groups": 2},
        },
        "test_cfg": {
            "nms_pre": 60,
            "min_bbox_size": 0,
            "score_thr": 0.05,
            "nms": {"type": "nms", "iou_threshold": 0.5},
            "max_per_img": 20,
            **test_settings,
        },
    }


def _pyramid() -> dict[str, Any]:
    return {
        "data_preprocessor": {
            "type": "DetDataPreprocessor",
            "mean": [123.675, 116.28, 103.53],
            "std": [58.395, 57.12, 57.375],
            "bgr_to_rgb": True,
            "pad_size_divisor": 32,
        },
        "backbone": {"type": "convnext_t", "depths": (1, 1, 1, 1), "dims": (8, 8, 8, 8)},
        "neck": {"type": "FPN", "in_channels": [8, 8, 8, 8], "out_channels": CHANNELS, "num_outs": len(STRIDES)},
    }


def _two_stage(kind: str, roi_head: dict[str, Any], test_settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": kind,
        **_pyramid(),
        "rpn_head": {
            "type": "RPNHead",
            "in_channels": CHANNELS,
            "feat_channels": CHANNELS,
            "anchor_generator": {"type": "AnchorGenerator", "scales": [4], "ratios": [0.5, 2.0], "strides": STRIDES},
            "bbox_coder": {"type": "DeltaXYWHBBoxCoder"},
        },
        "roi_head": roi_head,
        "train_cfg": None,
        "test_cfg": {
            "rpn": {
                "nms_pre": 100,
                "max_per_img": 40,
                "nms": {"type": "nms", "iou_threshold": 0.7},
                "min_bbox_size": 0,
            },
            "rcnn": {
                "score_thr": 0.05,
                "nms": {"type": "nms", "iou_threshold": 0.5},
                "max_per_img": 20,
                "mask_thr_binary": 0.5,
                **test_settings,
            },
        },
    }


def _roi_parts(box_head: Any) -> dict[str, Any]:
    return {
        "bbox_roi_extractor": _extractor(output_size=3),
        "bbox_head": box_head,
        "mask_roi_extractor": _extractor(output_size=6),
        "mask_head": {
            "type": "FCNMaskHead",
            "num_convs": 1,
            "in_channels": CHANNELS,
            "conv_out_channels": CHANNELS,
            "num_classes": CLASSES,
        },
    }


def _extractor(output_size: int) -> dict[str, Any]:
    return {
        "type": "SingleRoIExtractor",
        "roi_layer": {"type": "RoIAlign", "output_size": output_size, "sampling_ratio": 0},
        "out_channels": CHANNELS,
        "featmap_strides": STRIDES,
        "finest_scale": 20,
    }


def _box_head(stds: tuple[float, ...], class_agnostic: bool) -> dict[str, Any]:
    return {
        "type": "Shared2FCBBoxHead",
        "in_channels": CHANNELS,
        "fc_out_channels": 16,
        "roi_feat_size": 3,
        "num_classes": CLASSES,
        "bbox_coder": {"type": "DeltaXYWHBBoxCoder", "target_stds": stds},
        "reg_class_agnostic": class_agnostic,
    }


KINDS = {
    "mask_rcnn": _mask_rcnn,
    "faster_rcnn": _faster_rcnn,
    "cascade_mask_rcnn": _cascade_mask_rcnn,
    "fcos": _fcos,
}

"""Whole checkpoints of mmseg 0 and mmdet 2, as the authors' repositories released them, fill today's models."""

from typing import Any

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope, Registry
from released_key_sets import Shapes, convnext, detector_heads, fcos_heads, replknet, swin, tensors, upernet_heads

import densebench.registration  # noqa: F401
from densebench.checkpoint import compare
from densebench.key_layouts import for_model

DIMS = (8, 16, 24, 32)
SMALL = {"depths": (1, 1, 2, 1), "dims": DIMS}
CONVNEXT = {"type": "convnext_t", **SMALL}


def check_filled(registry: Registry, config: dict[str, Any], file: Shapes, layout: str) -> None:
    # Whatever scope an earlier run of the same process left open.
    with torch.device("meta"), DefaultScope.overwrite_default_scope(registry.scope):
        own = registry.build(ConfigDict(config)).state_dict()
    for prefix in ("", "module."):
        state, found = for_model({prefix + name: value for name, value in tensors(file).items()}, own)
        report = compare(own, state, found)
        assert found == layout and report.matched_percent == 100
        assert not report.missing and not report.unexpected


def under_backbone(file: Shapes) -> Shapes:
    return {f"backbone.{name}": shape for name, shape in file.items()}


def upernet(backbone: dict[str, Any], dims: tuple[int, ...]) -> dict[str, Any]:
    head = {"norm_cfg": {"type": "BN"}, "align_corners": False, "num_classes": 150}
    auxiliary = {"in_channels": dims[2], "in_index": 2, "channels": 8, "num_convs": 1, "concat_input": False}
    return {
        "type": "EncoderDecoder",
        "backbone": backbone,
        "decode_head": {"type": "UPerHead", "in_channels": dims, "in_index": [0, 1, 2, 3], "channels": 16, **head},
        "auxiliary_head": {"type": "FCNHead", **auxiliary, **head},
    }


@pytest.mark.parametrize(
    ("layout", "backbone", "dims", "file"),
    [
        ("ConvNeXt (authors)", CONVNEXT, DIMS, convnext(**SMALL, outputs=True)),
        (
            "Swin (authors)",
            {"type": "swin_t", "embed_dim": 8, "depths": (1, 2, 1, 1), "num_heads": (1, 2, 4, 8)},
            (8, 16, 32, 64),
            swin(8, (1, 2, 4, 8), (1, 2, 1, 1), window=7, outputs=True),
        ),
        (
            "RepLKNet (authors)",
            {"type": "replknet_xl", "kernel_sizes": (7, 7, 7, 7), "small_kernel_size": 5, "dims": (8, 16, 32, 64)},
            (8, 16, 32, 64),
            replknet((8, 16, 32, 64), (7, 7, 7, 7), small=5, ratio=1.5, outputs=True),
        ),
    ],
    ids=["convnext", "swin", "replknet"],
)
def test_segmentors_of_mmseg_0(layout: str, backbone: dict[str, Any], dims: tuple[int, ...], file: Shapes) -> None:
    from mmseg.registry import MODELS

    check_filled(MODELS, upernet(backbone, dims), under_backbone(file) | upernet_heads(dims, 16, 8, 150), layout)


def detector(name: str) -> dict[str, Any]:
    anchors = {"type": "AnchorGenerator", "ratios": [0.5, 1.0, 2.0], "scales": [8], "strides": [4, 8, 16, 32, 64]}
    extractor = {
        "type": "SingleRoIExtractor",
        "roi_layer": {"type": "RoIAlign", "output_size": 7},
        "out_channels": 16,
        "featmap_strides": [4, 8, 16, 32],
    }
    box = {"in_channels": 16, "fc_out_channels": 32, "num_classes": 80}
    convolutions = {"num_shared_convs": 4, "num_shared_fcs": 1, "conv_out_channels": 16, "norm_cfg": {"type": "BN"}}
    mask = {"type": "FCNMaskHead", "num_convs": 4, "in_channels": 16, "conv_out_channels": 16, "num_classes": 80}
    common: dict[str, Any] = {
        "type": name,
        "backbone": CONVNEXT,
        "neck": {"type": "FPN", "in_channels": list(DIMS), "out_channels": 16, "num_outs": 5},
        "train_cfg": None,
    }
    if name == "FCOS":
        head = {"type": "FCOSHead", "num_classes": 80, "in_channels": 16, "feat_channels": 16}
        common["neck"] |= {"start_level": 1, "add_extra_convs": "on_output"}
        return {**common, "bbox_head": {**head, "norm_cfg": {"type": "GN", "num_groups": 2}}}
    roi_head = {"bbox_roi_extractor": extractor, "mask_roi_extractor": extractor, "mask_head": mask}
    if name == "CascadeRCNN":
        roi_head |= {"type": "CascadeRoIHead", "num_stages": 3, "stage_loss_weights": [1, 0.5, 0.25]}
        roi_head["bbox_head"] = [{"type": "ConvFCBBoxHead", **box, **convolutions}] * 3
    else:
        roi_head |= {"type": "StandardRoIHead", "bbox_head": {"type": "Shared2FCBBoxHead", **box}}
    return {
        **common,
        "rpn_head": {"type": "RPNHead", "in_channels": 16, "feat_channels": 16, "anchor_generator": anchors},
        "roi_head": roi_head,
        "test_cfg": {"rpn": {}, "rcnn": {}},
    }


@pytest.mark.parametrize(
    ("name", "heads"),
    [
        ("MaskRCNN", detector_heads(DIMS, 16, cascade=False)),
        ("CascadeRCNN", detector_heads(DIMS, 16, cascade=True)),
        ("FCOS", fcos_heads(DIMS, 16)),
    ],
)
def test_detectors_of_mmdet_2(name: str, heads: Shapes) -> None:
    import mmdet.models  # noqa: F401
    from mmdet.registry import MODELS

    file = under_backbone(convnext(**SMALL, outputs=True)) | heads
    check_filled(MODELS, detector(name), file, "ConvNeXt (authors)")

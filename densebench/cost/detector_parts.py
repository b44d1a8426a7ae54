"""The parts of a two-stage detector, as the papers count their multiply-adds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

# Of one image: proposals that the box head sees, and detections that the mask head sees.
NUM_PROPOSALS = 1000
NUM_DETECTIONS = 100


def detector_parts(detector: nn.Module) -> dict[str, Callable[[Any], Any]]:
    """Backbone, neck, proposals, the box head on 1000 regions and the mask head on 100; each takes the one before's.

    Pooling regions from the feature maps counts nothing: it is no convolution and no matrix product.
    """
    model: Any = detector
    roi_head = model.roi_head
    parts: dict[str, Callable[[Any], Any]] = {
        "backbone": model.backbone,
        "neck": model.neck,
        "rpn_head": _passing_on(model.rpn_head, lambda levels: levels),
        "bbox_head": _passing_on(roi_head.bbox_head, lambda _: _regions(roi_head.bbox_roi_extractor, NUM_PROPOSALS)),
    }
    if roi_head.with_mask:
        extractor = roi_head.mask_roi_extractor
        parts["mask_head"] = _passing_on(roi_head.mask_head, lambda _: _regions(extractor, NUM_DETECTIONS))
    return parts


def _passing_on(head: Any, inputs_from: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Runs a head on what `inputs_from` makes of the feature maps, and returns the feature maps."""

    def run(levels: Any) -> Any:
        head(inputs_from(levels))
        return levels

    return run


def _regions(extractor: Any, number: int) -> torch.Tensor:
    """Pooled features (number, channels, height, width), without content."""
    height, width = extractor.roi_layers[0].output_size
    return torch.empty(number, extractor.out_channels, height, width, device="meta")

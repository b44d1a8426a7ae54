"""The parts of a detector, as the papers count their multiply-adds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

# Of one image: proposals that the box head sees, and detections that the mask head sees.
NUM_PROPOSALS = 1000
NUM_DETECTIONS = 100


def detector_parts(detector: nn.Module) -> dict[str, Callable[[Any], Any]]:
    """The parts of a detector in their order; each takes what the one before returns.

    Of one with two stages: backbone, neck, proposals, every box head on 1000 regions and every mask head on 100, as all
    heads of a cascade run in a test. Of one with a single stage: backbone, neck and head. Pooling regions from the
    feature maps counts nothing: it is no convolution and no matrix product.
    """
    model: Any = detector
    parts: dict[str, Callable[[Any], Any]] = {"backbone": model.backbone, "neck": model.neck}
    if not hasattr(model, "roi_head"):
        return parts | {"bbox_head": model.bbox_head}
    roi_head = model.roi_head
    parts["rpn_head"] = _passing_on([model.rpn_head], lambda levels: levels)
    boxes, box_extractor = _stages(roi_head.bbox_head), _stages(roi_head.bbox_roi_extractor)[0]
    parts["bbox_head"] = _passing_on(boxes, lambda _: _regions(box_extractor, NUM_PROPOSALS))
    if roi_head.with_mask:
        masks, mask_extractor = _stages(roi_head.mask_head), _stages(roi_head.mask_roi_extractor)[0]
        parts["mask_head"] = _passing_on(masks, lambda _: _regions(mask_extractor, NUM_DETECTIONS))
    return parts


def _stages(module: nn.Module) -> list[Any]:
    """The stages of a cascade, or the only one."""
    return list(module) if isinstance(module, nn.ModuleList) else [module]


def _passing_on(heads: list[Any], inputs_from: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Runs heads on what `inputs_from` makes of the feature maps, and returns the feature maps."""

    def run(levels: Any) -> Any:
        for head in heads:
            head(inputs_from(levels))
        return levels

    return run


def _regions(extractor: Any, number: int) -> torch.Tensor:
    """Pooled features (number, channels, height, width), without content."""
    height, width = extractor.roi_layers[0].output_size
    return torch.empty(number, extractor.out_channels, height, width, device="meta")

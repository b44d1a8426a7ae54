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
    feature maps is no convolution and no matrix product, and stands outside the total.
    """
    model: Any = detector
    parts: dict[str, Callable[[Any], Any]] = {"backbone": model.backbone, "neck": model.neck}
    if not hasattr(model, "roi_head"):
        return parts | {"bbox_head": model.bbox_head}
    roi_head = model.roi_head
    parts["rpn_head"] = _passing_on([model.rpn_head], lambda levels: levels)
    boxes, box_extractor = _stages(roi_head.bbox_head), _stages(roi_head.bbox_roi_extractor)[0]
    parts["bbox_head"] = _passing_on(boxes, lambda levels: _regions(box_extractor, levels, NUM_PROPOSALS))
    if roi_head.with_mask:
        masks, mask_extractor = _stages(roi_head.mask_head), _stages(roi_head.mask_roi_extractor)[0]
        parts["mask_head"] = _passing_on(masks, lambda levels: _regions(mask_extractor, levels, NUM_DETECTIONS))
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


def _regions(extractor: Any, levels: Any, number: int) -> torch.Tensor:
    """Pooled features (number, channels, height, width), without content; all from the finest level."""
    pooled: torch.Tensor = extractor.roi_layers[0](levels[0], torch.empty(number, 5, device="meta"))
    return pooled

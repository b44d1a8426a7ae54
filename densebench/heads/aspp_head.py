"""DeepLabV3+'s decode head without the convolution over an enlarged single pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.registry import MODELS
from mmseg.models.decode_heads import DepthwiseSeparableASPPHead
from mmseg.models.utils import resize
from torch import Tensor

from densebench.heads.convolution_module import convolve_module, is_ordinary
from densebench.heads.segmentation_loss import LoggedAccuracy


@MODELS.register_module()
class LeanSeparableASPPHead(LoggedAccuracy, DepthwiseSeparableASPPHead):
    """mmseg's DepthwiseSeparableASPPHead (DeepLabV3+, arXiv:1802.02611): the same parameters and results, in less time.

    Half of the time goes into the 3x3 convolution that joins the branches. The pooled branch is one pixel, enlarged
    to the size of the others, and is multiplied as one pixel; the rest goes by Winograd's tiles where they are faster.
    Equal to mmseg's up to rounding: 1e-5 of the largest value, gradients too.

    Args:
        plain: compute as mmseg does.
    """

    def __init__(self, plain: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plain = plain

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Feature maps of all levels -> (N, classes, H, W), at the size of the first level."""
        if self.plain or not is_ordinary(self.bottleneck):
            result: Tensor = super().forward(inputs)
            return result
        # Products over channels are what this is all about, so channels lie side by side.
        x = self._transform_inputs(inputs).contiguous(memory_format=torch.channels_last)
        pooled = self.image_pool(x)  # (N, channels, 1, 1)
        branches = torch.cat(self.aspp_modules(x), dim=1)
        output = convolve_module(self.bottleneck, branches, [pooled], self.align_corners, small_first=True)
        del x, branches
        if self.c1_bottleneck is not None:
            first = self.c1_bottleneck(inputs[0].contiguous(memory_format=torch.channels_last))
            output = resize(output, size=first.shape[2:], mode="bilinear", align_corners=self.align_corners)
            output = torch.cat([output, first], dim=1)
        scores: Tensor = self.cls_seg(self.sep_bottleneck(output))
        return scores

"""UperNet's decode head without the convolutions over enlarged copies of smaller maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.registry import MODELS
from mmseg.models.decode_heads import UPerHead
from mmseg.models.utils import resize
from torch import Tensor

from densebench.heads.convolution_module import convolve_module, is_ordinary, project
from densebench.heads.segmentation_loss import LoggedAccuracy


@MODELS.register_module()
class LeanUPerHead(LoggedAccuracy, UPerHead):
    """mmseg's UPerHead (UperNet, arXiv:1807.10221): the same parameters, state dict and results, in less time.

    Three quarters of what the fusion convolution reads are enlarged copies of coarser maps, and so is most of what
    the convolution after the pyramid pooling reads. Both are computed at the maps' own sizes. Equal to mmseg's up to
    rounding: 1e-5 of the largest value, gradients too.

    Args:
        plain: compute as mmseg does.
    """

    def __init__(self, plain: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plain = plain

    def psp_forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Pyramid pooling of the coarsest map, joined with it and convolved."""
        if self.plain or not is_ordinary(self.bottleneck):
            result: Tensor = super().psp_forward(inputs)
            return result
        coarsest = inputs[-1]
        pooled = [pool_and_convolve(coarsest) for pool_and_convolve in self.psp_modules]
        return convolve_module(self.bottleneck, coarsest, pooled, self.align_corners)

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """Feature maps of all levels -> (N, channels, H / 4, W / 4), what the classifier reads."""
        is_known = all(map(is_ordinary, (self.fpn_bottleneck, *self.fpn_convs)))
        if self.plain or not is_known or not all(is_ordinary(lateral, side=1) for lateral in self.lateral_convs):
            result: Tensor = super()._forward_feature(inputs)
            return result
        # Products over channels are what this is all about, so channels lie side by side.
        levels = [level.contiguous(memory_format=torch.channels_last) for level in self._transform_inputs(inputs)]
        laterals = [project(lateral, level) for lateral, level in zip(self.lateral_convs, levels, strict=False)]
        laterals.append(self.psp_forward(levels))
        for index in range(len(laterals) - 1, 0, -1):
            finer = laterals[index - 1]
            laterals[index - 1] = finer + resize(
                laterals[index], size=finer.shape[2:], mode="bilinear", align_corners=self.align_corners
            )
        del finer, levels
        coarsest = laterals.pop()
        # From the end, so that every lateral is gone when its map is there.
        maps = [convolve_module(module, laterals.pop(), [], self.align_corners) for module in reversed(self.fpn_convs)][
            ::-1
        ]
        return convolve_module(self.fpn_bottleneck, maps[0], [*maps[1:], coarsest], self.align_corners)

"""Four feature maps out of one, for models that keep one resolution throughout."""

from __future__ import annotations

import math
from collections.abc import Sequence

from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional

PYRAMID_STRIDES = (4, 8, 16, 32)


class SimpleFeaturePyramid(nn.Module):
    """Maps at strides 4, 8, 16 and 32 from the last map of a plain backbone (ViTDet, arXiv:2203.16527, sec. 3).

    Each level comes from the one map alone: finer ones by deconvolutions of stride 2, each of which halves the
    channels, coarser ones by max pooling. ViTDet's 1x1 and 3x3 convolutions to 256 channels are left out: here necks
    and heads bring all backbones' maps to their own width.

    A map whose stride is no power of two (patches of 14 pixels) is resampled first, bilinearly, to the nearest
    stride that is one.

    Args:
        channels: channels of the map.
        stride: pixels of the image per element of the map.
        out_strides: levels that are returned.
    """

    def __init__(self, channels: int, stride: int, out_strides: Sequence[int] = PYRAMID_STRIDES) -> None:
        super().__init__()
        self.source_stride = stride
        self.stride = 2 ** round(math.log2(stride))
        self.levels = nn.ModuleList(_level(channels, self.stride, target) for target in out_strides)
        self.out_channels = tuple(channels // max(1, self.stride // target) for target in out_strides)
        self.apply(_init_weights)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, C, H, W) -> one (N, out_channels[i], H * stride / s, W * stride / s) for each stride s.

        Sizes are rounded up, but for those of a resampled map, rounded down.
        """
        if self.source_stride != self.stride:
            scale = self.source_stride / self.stride
            # The given scale places the elements, not that of the rounded sizes: they stay where they are in the image.
            x = functional.interpolate(x, scale_factor=scale, mode="bilinear", recompute_scale_factor=False)
        return tuple(level(x) for level in self.levels)


def _level(channels: int, stride: int, target: int) -> nn.Sequential:
    if target > stride:
        factor = target // stride
        return nn.Sequential(nn.MaxPool2d(factor, ceil_mode=True))
    layers: list[nn.Module] = []
    while stride > target:
        if layers:
            layers += [LayerNorm2d(channels, eps=1e-6), nn.GELU()]
        layers.append(nn.ConvTranspose2d(channels, channels // 2, kernel_size=2, stride=2))
        channels //= 2
        stride //= 2
    return nn.Sequential(*layers)


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.ConvTranspose2d):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

"""The one place where a depthwise convolution with a large kernel is computed."""

from __future__ import annotations

from torch import nn


class LargeKernelConv2d(nn.Conv2d):
    """Depthwise convolution, (N, C, H, W) -> (N, C, H, W), with an odd kernel of any size and zero padding."""

    def __init__(self, channels: int, kernel_size: int, bias: bool = True) -> None:
        super().__init__(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels, bias=bias)

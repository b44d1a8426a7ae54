"""1x1 convolutions as products over the channels of maps that lie in memory as (N, H, W, C)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones.layers.feed_forward import feed_forward
from backbones.layers.linear import linear


class PointwiseConv2d(nn.Conv2d):
    """1x1 convolution, (N, C, H, W) -> (N, D, H, W); a drop-in for nn.Conv2d with its parameters and results.

    On the CPU, on maps in channels_last, it is a linear layer (`backbones.layers.linear`) and the output has that
    layout; elsewhere it is torch's convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, kernel_size=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D, H, W)."""
        if not _is_linear(x):
            return super().forward(x)
        rows = x.permute(0, 2, 3, 1)  # (N, C, H, W) -> (N, H, W, C)
        return linear(rows, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


def pointwise_feed_forward(x: Tensor, first: nn.Conv2d, second: nn.Conv2d) -> Tensor:
    """1x1 convolution, GELU, 1x1 convolution, all with a bias: (N, C, H, W) -> (N, E, H, W)."""
    if not _is_linear(x):
        output: Tensor = second(nn.functional.gelu(first(x)))
        return output
    assert first.bias is not None and second.bias is not None
    rows = x.permute(0, 2, 3, 1)  # (N, C, H, W) -> (N, H, W, C)
    rows = feed_forward(rows, first.weight.flatten(1), first.bias, second.weight.flatten(1), second.bias)
    return rows.permute(0, 3, 1, 2)


def _is_linear(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)

"""The one place where a depthwise convolution with a large kernel is computed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones.layers.depthwise import depthwise_conv2d

# Kernels below this side are left to torch, whose own convolution is best for them everywhere.
MIN_KERNEL_SIZE = 5


class LargeKernelConv2d(nn.Conv2d):
    """Depthwise convolution, (N, C, H, W) -> (N, C, H', W'), with zero padding; a drop-in for nn.Conv2d.

    Parameters, state dict and results are nn.Conv2d's, up to rounding; the output has the input's memory layout. How
    it is computed is chosen for each shape (`backbones.layers.kernel_choice`).

    Args:
        padding: None for what keeps the size at stride 1 with an odd kernel, dilation * (kernel_size // 2).
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        bias: bool = True,
        stride: int = 1,
        dilation: int = 1,
        padding: int | None = None,
    ) -> None:
        super().__init__(
            channels,
            channels,
            kernel_size,
            stride=stride,
            padding=dilation * (kernel_size // 2) if padding is None else padding,
            dilation=dilation,
            groups=channels,
            bias=bias,
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H', W'), nn.Conv2d's sizes; an image without N is taken as well."""
        if self.kernel_size[0] < MIN_KERNEL_SIZE or x.dim() != 4 or x.numel() == 0:
            return super().forward(x)
        weight, bias = self.weight, self.bias
        device = x.device.type
        # Autocast casts torch's convolutions and knows nothing of ours; like them, it leaves double precision alone.
        if device != "meta" and torch.is_autocast_enabled(device) and x.dtype != torch.float64:
            dtype = torch.get_autocast_dtype(device)
            x, weight = x.to(dtype), weight.to(dtype)
            bias = None if bias is None else bias.to(dtype)
        return depthwise_conv2d(x, weight, bias, list(self.stride), list(self.padding), list(self.dilation))

"""Depthwise convolution and its gradients by torch's own convolutions, in either memory layout.

Both gradients are convolutions themselves, and on the CPU torch computes them many times faster when they are asked for
as such: its weight gradient of a large depthwise kernel is a matrix product per channel that unfolds the map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Geometry:
    """Rows and columns of a convolution's settings."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @staticmethod
    def of(stride: list[int], padding: list[int], dilation: list[int]) -> Geometry:
        """From the lists that operators take."""
        return Geometry((stride[0], stride[1]), (padding[0], padding[1]), (dilation[0], dilation[1]))

    @property
    def is_dense(self) -> bool:
        """Neither stride nor dilation."""
        return self.stride == self.dilation == (1, 1)

    def output_size(self, size: tuple[int, int], kernel: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the output for an input of `size`."""
        reach = [size[i] + 2 * self.padding[i] - self.dilation[i] * (kernel[i] - 1) - 1 for i in (0, 1)]
        return reach[0] // self.stride[0] + 1, reach[1] // self.stride[1] + 1


def memory_format(x: Tensor) -> torch.memory_format:
    """The layout of x (N, C, H, W): channels_last only where that is not the contiguous one as well."""
    if not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, layout: torch.memory_format) -> Tensor:
    """(N, C, H, W), (C, 1, K, L) -> (N, C, H', W'), computed in `layout`."""
    x = x.contiguous(memory_format=layout)
    return functional.conv2d(
        x, weight, bias, geometry.stride, geometry.padding, geometry.dilation, groups=weight.shape[0]
    )


def gradients(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    geometry: Geometry,
    layout: torch.memory_format,
    wants_x: bool,
    wants_weight: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients for x (N, C, H, W) and weight (C, 1, K, L) as torch has them, computed in `layout`."""
    found = torch.ops.aten.convolution_backward(
        gradient.contiguous(memory_format=layout),
        x.contiguous(memory_format=layout),
        weight,
        None,
        list(geometry.stride),
        list(geometry.padding),
        list(geometry.dilation),
        False,
        [0, 0],
        weight.shape[0],
        [wants_x, wants_weight, False],
    )
    return found[0], found[1]


def can_correlate_input_gradient(weight: Tensor, geometry: Geometry) -> bool:
    """Whether `correlated_input_gradient` can compute it: stride 1, and no more padding than the kernel reaches."""
    reaches = [geometry.dilation[i] * (weight.shape[2 + i] - 1) for i in (0, 1)]
    return geometry.stride == (1, 1) and all(reaches[i] >= geometry.padding[i] for i in (0, 1))


def correlated_input_gradient(gradient: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Gradient for x: the convolution of the output's gradient with the kernel turned by 180 degrees, channels_last."""
    padding = [geometry.dilation[i] * (weight.shape[2 + i] - 1) - geometry.padding[i] for i in (0, 1)]
    return functional.conv2d(
        gradient.contiguous(memory_format=torch.channels_last),
        weight.flip(2, 3),
        padding=padding,
        dilation=geometry.dilation,
        groups=weight.shape[0],
    )


def correlated_weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Gradient for the weight: each image convolved with its output's gradient as the kernel, channels_last.

    Stride and dilation change places: neighbouring taps of the weight lie `dilation` apart in x, neighbouring elements
    of the gradient `stride`. Images are added in float32 at least.
    """
    channels, _, rows, columns = weight.shape
    x = x.contiguous(memory_format=torch.channels_last)
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    total: Tensor | None = None
    for image, kernel in zip(x.split(1), gradient.split(1), strict=True):
        one = functional.conv2d(
            image,
            kernel.transpose(0, 1),  # (1, C, H', W') -> (C, 1, H', W')
            stride=geometry.dilation,
            padding=geometry.padding,
            dilation=geometry.stride,
            groups=channels,
        )
        # A stride may leave rows of x unused, which give taps that the weight does not have.
        one = one[0, :, None, :rows, :columns].to(torch.promote_types(one.dtype, torch.float32))
        total = one if total is None else total.add_(one)
    assert total is not None
    return total.to(weight.dtype).contiguous()

"""Depthwise convolution and its gradients by torch's own convolutions, in either memory layout.

Both gradients are convolutions themselves, and on the CPU torch computes them many times faster when they are asked for
as such: its weight gradient of a large depthwise kernel is a matrix product per channel that unfolds the map.
"""

from __future__ import annotations

import itertools
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

    Images are added in float32 at least.
    """
    total = torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32))
    x = x.contiguous(memory_format=torch.channels_last)
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    is_strided = geometry.stride != (1, 1) and geometry.dilation == (1, 1)
    for image, kernel in zip(x.split(1), gradient.split(1), strict=True):
        kernel = kernel.transpose(0, 1)  # (1, C, H', W') -> (C, 1, H', W')
        if is_strided:
            _add_by_phases(total, image, kernel, geometry)
        else:
            total += _correlation(image, kernel, geometry, weight.shape)
    return total.to(weight.dtype)


def _correlation(image: Tensor, kernel: Tensor, geometry: Geometry, shape: torch.Size) -> Tensor:
    """(1, C, H, W), (C, 1, H', W') -> the weight's gradient (C, 1, K, L) from one image.

    Stride and dilation change places: neighbouring taps of the weight lie `dilation` apart in x, neighbouring elements
    of the gradient `stride`.
    """
    found = functional.conv2d(
        image,
        kernel,
        stride=geometry.dilation,
        padding=geometry.padding,
        dilation=geometry.stride,
        groups=len(kernel),
    )
    # A stride may leave rows of x unused, which give taps that the weight does not have.
    return found[0, :, None, : shape[2], : shape[3]]


def _add_by_phases(total: Tensor, image: Tensor, kernel: Tensor, geometry: Geometry) -> None:
    """Add one image's gradient to the weight's (C, 1, K, L), whose taps meet x at every `stride`-th pixel alone.

    Taps of one phase (their row and column modulo the stride) see one map of every `stride`-th pixel, without gaps:
    several times as fast as a kernel with gaps.
    """
    rows, columns = geometry.padding
    padded = functional.pad(image, (columns, columns, rows, rows)).contiguous(memory_format=torch.channels_last)
    for row, column in itertools.product(*map(range, geometry.stride)):
        taps = total[:, :, row :: geometry.stride[0], column :: geometry.stride[1]]
        if taps.numel() > 0:
            height, width = (kernel.shape[axis] + taps.shape[axis] - 1 for axis in (2, 3))
            phase = padded[:, :, row :: geometry.stride[0], column :: geometry.stride[1]][:, :, :height, :width]
            phase = phase.contiguous(memory_format=torch.channels_last)
            taps += functional.conv2d(phase, kernel, groups=len(kernel)).transpose(0, 1)

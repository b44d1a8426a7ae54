"""Scratch memory of operators on CUDA, which torch's allocator gives out and counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

# Winograd's F(4x4, 3x3) ("Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308, sec. 4.3) keeps
# tiles of 6x6 for 4x4 outputs, and 6x6 for each 3x3 kernel.
TILE_SHARE = 36 / 16
KERNEL_SHARE = 36 / 9


# A sort writes all values and their positions.
POSITION_BYTES = 8


def scratch_bytes(operator: Any, args: Sequence[Any]) -> int:
    """Bytes that an operator takes up while it runs, beside what it returns; 0 for most.

    The largest of some classes at each pixel (mmseg's accuracy) is counted as a full sort over the classes: the
    published memory of recipes with 150 classes has room for one, and lacks two copies of their scores without.
    """
    if operator is torch.ops.aten.topk.default:
        return int(args[0].numel() * (args[0].element_size() + POSITION_BYTES))
    return convolution_workspace_bytes(operator, args)


def convolution_workspace_bytes(operator: Any, args: Sequence[Any]) -> int:
    """Of a convolution, forward or backward.

    cuDNN's non-fused Winograd algorithm, the usual choice in float32 for dense 3x3 kernels of stride 1: transformed
    input, output and weights. Other kernels and strides, dilation, groups: implicit products, which need little.
    """
    if operator is torch.ops.aten.convolution.default:
        x, weight, _, stride, _, dilation, _, _, groups = args
        y_numel = None
    elif operator is torch.ops.aten.convolution_backward.default:
        gradient, x, weight, _, stride, _, dilation, _, _, groups = args[:10]
        y_numel = gradient.numel()
    else:
        return 0
    kernel = tuple(weight.shape[2:])
    if kernel != (3, 3) or set(stride) != {1} or set(dilation) != {1} or groups != 1:
        return 0
    if y_numel is None:
        y_numel = x.shape[0] * weight.shape[0] * math.prod(x.shape[2:])
    return _winograd_bytes(x, y_numel, weight)


def _winograd_bytes(x: Tensor, y_numel: int, weight: Tensor) -> int:
    tiles = TILE_SHARE * (x.numel() + y_numel)
    return math.ceil((tiles + KERNEL_SHARE * weight.numel()) * x.element_size())

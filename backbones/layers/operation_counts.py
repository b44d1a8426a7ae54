"""What torch's counter of operations takes our operators for; importing this module tells it.

Apart from the operators, because the counter brings triton, which a run without counting has no use for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.flop_counter import register_flop_formula

from backbones.layers import depthwise  # noqa: F401  # defines its operators
from backbones.layers.linear import HAS_ONEDNN

# Two operations a multiply-add, as torch counts its own.


@register_flop_formula(torch.ops.backbones.depthwise_conv2d)
def _depthwise_forward(
    x_shape: Sequence[int], weight_shape: Sequence[int], *settings: Any, out_shape: Sequence[int], **kwargs: Any
) -> int:
    return 2 * math.prod(out_shape) * math.prod(weight_shape[2:])


@register_flop_formula(torch.ops.backbones.depthwise_conv2d_backward)
def _depthwise_backward(
    gradient_shape: Sequence[int],
    x_shape: Sequence[int],
    weight_shape: Sequence[int],
    *settings: Any,
    out_shape: Any,
    **kwargs: Any,
) -> int:
    num_gradients = settings[-2:].count(True)
    return 2 * num_gradients * math.prod(gradient_shape) * math.prod(weight_shape[2:])


if HAS_ONEDNN:

    @register_flop_formula(torch.ops.mkldnn._linear_pointwise)
    def _linear(x_shape: Sequence[int], weight_shape: Sequence[int], *settings: Any, **kwargs: Any) -> int:
        return 2 * math.prod(x_shape) * weight_shape[0]

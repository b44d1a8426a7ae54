"""Depthwise convolution as two operators of torch's, forward and backward, whose algorithm is chosen when they run.

As operators they pass through autograd (any number of times), torch.compile, DDP, the meta device and torch's FLOP
counter, which counts them as the direct convolution, however they are computed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from backbones.layers.depthwise_algorithms import run_forward, run_gradients
from backbones.layers.direct_convolution import Geometry, memory_format
from backbones.layers.kernel_choice import choose_forward, choose_gradients


@torch.library.custom_op("backbones::depthwise_conv2d", mutates_args=())
def depthwise_conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: list[int], padding: list[int], dilation: list[int]
) -> Tensor:
    """(N, C, H, W), (C, 1, K, L), (C,) -> (N, C, H', W'), as `conv2d` with C groups, in the layout of x.

    Raises:
        RuntimeError: shapes or dtypes that do not fit each other.
    """
    geometry = Geometry.of(stride, padding, dilation)
    _output_shape(x, weight, geometry)
    if x.dtype != weight.dtype:
        raise RuntimeError(f"Input and weight should have the same dtype; they have {x.dtype} and {weight.dtype}.")
    return run_forward(choose_forward(x, weight, geometry), x, weight, bias, geometry)


@torch.library.custom_op("backbones::depthwise_conv2d_backward", mutates_args=())
def depthwise_conv2d_backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    wants_x: bool,
    wants_weight: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of `depthwise_conv2d` for x (in its layout) and for the weight; empty where they are not wanted."""
    geometry = Geometry.of(stride, padding, dilation)
    algorithms = choose_gradients(x, weight, geometry, wants_x, wants_weight)
    x_gradient, weight_gradient = run_gradients(*algorithms, gradient, x, weight, geometry)
    return (
        x.new_empty(0) if x_gradient is None else x_gradient,
        weight.new_empty(0) if weight_gradient is None else weight_gradient,
    )


def _output_shape(x: Tensor, weight: Tensor, geometry: Geometry) -> tuple[int, int, int, int]:
    if x.dim() != 4 or weight.dim() != 4 or weight.shape[1] != 1 or x.shape[1] != weight.shape[0]:
        raise RuntimeError(
            "A depthwise convolution takes an input (N, C, H, W) and a weight (C, 1, K, L), not "
            f"{tuple(x.shape)} and {tuple(weight.shape)}."
        )
    height, width = geometry.output_size((x.shape[2], x.shape[3]), (weight.shape[2], weight.shape[3]))
    if height < 1 or width < 1:
        raise RuntimeError(
            f"A kernel of {tuple(weight.shape[2:])} with {geometry} is larger than the padded map of "
            f"{tuple(x.shape[2:])}."
        )
    return x.shape[0], x.shape[1], height, width


@depthwise_conv2d.register_fake
def _(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: list[int], padding: list[int], dilation: list[int]
) -> Tensor:
    shape = _output_shape(x, weight, Geometry.of(stride, padding, dilation))
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format(x))


@depthwise_conv2d_backward.register_fake
def _(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    wants_x: bool,
    wants_weight: bool,
) -> tuple[Tensor, Tensor]:
    return (
        torch.empty_like(x, memory_format=memory_format(x)) if wants_x else x.new_empty(0),
        weight.new_empty(weight.shape) if wants_weight else weight.new_empty(0),
    )


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, _, *ctx.settings = inputs
    ctx.save_for_backward(x, weight)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    x, weight = ctx.saved_tensors
    wants_x, wants_weight, wants_bias = ctx.needs_input_grad[:3]
    x_gradient = weight_gradient = None
    if wants_x or wants_weight:
        found = depthwise_conv2d_backward(gradient, x, weight, *ctx.settings, wants_x, wants_weight)
        x_gradient, weight_gradient = (found[0] if wants_x else None), (found[1] if wants_weight else None)
    return x_gradient, weight_gradient, gradient.sum((0, 2, 3)) if wants_bias else None, None, None, None


def _keep_for_second_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    gradient, x, weight, *ctx.settings, ctx.wants_x, ctx.wants_weight = inputs
    ctx.save_for_backward(gradient, x, weight)


def _second_backward(ctx: Any, along_x: Tensor, along_weight: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients are bilinear in (gradient, weight) and (gradient, x): theirs are the same three convolutions."""
    gradient, x, weight = ctx.saved_tensors
    wants_gradient, wants_x, wants_weight = ctx.needs_input_grad[:3]
    for_gradient = None
    if wants_gradient and ctx.wants_x:
        for_gradient = depthwise_conv2d(along_x, weight, None, *ctx.settings)
    if wants_gradient and ctx.wants_weight:
        by_weight = depthwise_conv2d(x, along_weight, None, *ctx.settings)
        for_gradient = by_weight if for_gradient is None else for_gradient + by_weight
    wants_x, wants_weight = wants_x and ctx.wants_weight, wants_weight and ctx.wants_x
    for_x = for_weight = None
    if wants_x or wants_weight:
        found = depthwise_conv2d_backward(
            gradient,
            along_x if ctx.wants_x else x,
            along_weight if ctx.wants_weight else weight,
            *ctx.settings,
            wants_x,
            wants_weight,
        )
        for_x, for_weight = (found[0] if wants_x else None), (found[1] if wants_weight else None)
    return for_gradient, for_x, for_weight, None, None, None, None, None


depthwise_conv2d.register_autograd(_backward, setup_context=_keep_for_backward)
depthwise_conv2d_backward.register_autograd(_second_backward, setup_context=_keep_for_second_backward)

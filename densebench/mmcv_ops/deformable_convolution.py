"""Deformable convolution, plain and modulated ("Deformable ConvNets", "Deformable ConvNets v2").

Offsets are (N, 2 * deform_groups * kH * kW, H_out, W_out) in pixels, (y, x) interleaved; modulation masks are
(N, deform_groups * kH * kW, H_out, W_out). The scratch tensors that mmcv passes for its own kernels, columns
and ones, stay untouched.
"""

from __future__ import annotations

from torch import Tensor

from densebench.mmcv_ops.kernels import full_precision, torchvision_kernels


def deform_conv_forward(
    features: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    **geometry: int,
) -> None:
    """Writes the convolution of features (N, C_in, H, W) into output (N, C_out, H_out, W_out).

    The geometry is mmcv's: dH, dW (the stride), padH, padW, dilationH, dilationW, group, deformable_group;
    kH, kW and im2col_step are not needed.
    """
    output.copy_(_convolve(features, weight, offset, None, None, _plain_geometry(geometry)))


def deform_conv_backward_input(
    features: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **geometry: int,
) -> None:
    """Writes the gradients by the features and by the offset into grad_input and grad_offset.

    torchvision's kernel computes all gradients at once: training pays for it here and again for the weight.
    """
    by_features, _, by_offset, _, _ = _gradients(
        grad_output, features, weight, offset, None, None, _plain_geometry(geometry)
    )
    grad_input.copy_(by_features)
    grad_offset.copy_(by_offset)


def deform_conv_backward_parameters(
    features: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    scale: float,
    **geometry: int,
) -> None:
    """Adds the gradient by the weight, times scale, to grad_weight."""
    # The gradient by the weight does not depend on the weight: only its shape is read.
    _, by_weight, _, _, _ = _gradients(
        grad_output, features, grad_weight, offset, None, None, _plain_geometry(geometry)
    )
    grad_weight.add_(by_weight.to(grad_weight.dtype), alpha=scale)


def modulated_deform_conv_forward(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    with_bias: bool,
    **geometry: int,
) -> None:
    """Writes the modulated convolution of features (N, C_in, H, W) into output (N, C_out, H_out, W_out).

    The geometry is mmcv's: stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group;
    kernel_h and kernel_w are not needed.
    """
    used_bias = bias if with_bias else None
    output.copy_(_convolve(features, weight, offset, mask, used_bias, _modulated_geometry(geometry)))


def modulated_deform_conv_backward(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    with_bias: bool,
    **geometry: int,
) -> None:
    """Writes all gradients into the grad tensors; grad_bias only where there is a bias."""
    used_bias = bias if with_bias else None
    by_features, by_weight, by_offset, by_mask, by_bias = _gradients(
        grad_output, features, weight, offset, mask, used_bias, _modulated_geometry(geometry)
    )
    grad_input.copy_(by_features)
    grad_weight.copy_(by_weight)
    grad_offset.copy_(by_offset)
    grad_mask.copy_(by_mask)
    if with_bias:
        grad_bias.copy_(by_bias)


def _plain_geometry(geometry: dict[str, int]) -> tuple[int, ...]:
    """The plain operators' geometry in torchvision's order."""
    spatial = ("dH", "dW", "padH", "padW", "dilationH", "dilationW")
    return tuple(geometry[name] for name in (*spatial, "group", "deformable_group"))


def _modulated_geometry(geometry: dict[str, int]) -> tuple[int, ...]:
    """The modulated operators' geometry in torchvision's order."""
    spatial = ("stride_h", "stride_w", "pad_h", "pad_w", "dilation_h", "dilation_w")
    return tuple(geometry[name] for name in (*spatial, "group", "deformable_group"))


def _convolve(
    features: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    geometry: tuple[int, ...],
) -> Tensor:
    arguments = _kernel_arguments(features, weight, offset, mask, bias)
    output: Tensor = torchvision_kernels().deform_conv2d(*arguments, *geometry, mask is not None)
    return output


def _gradients(
    grad_output: Tensor,
    features: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    geometry: tuple[int, ...],
) -> tuple[Tensor, ...]:
    """The gradients by features, weight, offset, mask and bias."""
    arguments = _kernel_arguments(features, weight, offset, mask, bias)
    grad_output = full_precision(grad_output)
    kernel = torchvision_kernels()._deform_conv2d_backward
    gradients: tuple[Tensor, ...] = kernel(grad_output, *arguments, *geometry, mask is not None)
    return gradients


def _kernel_arguments(
    features: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, ...]:
    """The tensors in torchvision's order; its kernels want a mask and a bias also where there is none."""
    if mask is None:
        mask = features.new_zeros(features.shape[0], 1)
    if bias is None:
        bias = features.new_zeros(weight.shape[0])
    return tuple(full_precision(tensor) for tensor in (features, weight, offset, mask, bias))

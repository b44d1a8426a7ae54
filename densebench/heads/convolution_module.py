"""mmcv's ConvModule (convolution, norm, activation) on joined maps of several sizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn
from torch.nn import functional

from densebench.heads.convolution import convolve_joined


def convolve_module(
    module: ConvModule, full: Tensor, small: Sequence[Tensor], align_corners: bool, small_first: bool = False
) -> Tensor:
    """An ordinary module (`is_ordinary`) on a map and the bilinear enlargements of smaller ones.

    (N, C, H, W), maps of (N, C_i, h_i, w_i) -> (N, O, H, W). The module's weights are for the maps joined in this
    order, or with `small_first` for the smaller ones before the full one.
    """
    weight, bias, norm = _folded(module)
    if small_first:
        weight = weight.roll(full.shape[1], dims=1)
    return _finished(module, norm, convolve_joined(full, small, weight, bias, align_corners))


def project(module: ConvModule, level: Tensor) -> Tensor:
    """An ordinary module of a 1x1 convolution on a map: (N, C, H, W) -> (N, O, H, W)."""
    weight, bias, norm = _folded(module)
    return _finished(module, norm, functional.conv2d(level, weight, bias))


def is_ordinary(module: ConvModule, side: int = 3) -> bool:
    """Whether it is a convolution with a square kernel of this side, then a norm, then an activation, and no more."""
    convolution = module.conv
    return (
        type(convolution) is nn.Conv2d
        and convolution.kernel_size == (side, side)
        and convolution.groups == 1
        and convolution.padding == (side // 2, side // 2)
        and convolution.stride == convolution.dilation == (1, 1)
        and convolution.padding_mode == "zeros"
        and not module.with_spectral_norm
        and module.order == ("conv", "norm", "act")
    )


def _folded(module: ConvModule) -> tuple[Tensor, Tensor | None, nn.Module | None]:
    """The convolution's weight and bias, and the norm that is still to come."""
    weight, bias, norm = module.conv.weight, module.conv.bias, module.norm if module.with_norm else None
    if norm is None or not _is_fixed(norm):
        return weight, bias, norm
    # A factor and a term per channel: in the weights they cost neither time nor a second map.
    factor = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    offset = norm.running_mean if bias is None else norm.running_mean - bias
    return weight * factor[:, None, None, None], norm.bias - factor * offset, None


def _finished(module: ConvModule, norm: nn.Module | None, output: Tensor) -> Tensor:
    if norm is not None:
        output = norm(output)
    if module.with_activation and isinstance(module.activate, nn.ReLU):
        return functional.relu(output, inplace=True)  # neither convolution nor norm needs it again
    return module.activate(output) if module.with_activation else output


def _is_fixed(norm: nn.Module) -> bool:
    """A batch norm by its statistics, of which no gradient is asked."""
    return (
        isinstance(norm, nn.modules.batchnorm._BatchNorm)
        and not norm.training
        and norm.running_var is not None
        and norm.affine
        and not torch.is_grad_enabled()
    )

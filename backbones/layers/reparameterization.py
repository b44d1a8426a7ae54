"""Convolutions that train with a parallel branch and are deployed as one (RepLKNet, guideline 3 and fig. 2)."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from backbones.layers.initial_values import on_meta_device
from backbones.layers.large_kernel import LargeKernelConv2d


class ReparameterizedConv2d(nn.Module):
    """Depthwise K x K convolution and BN, plus a depthwise convolution of a smaller kernel and BN on the same input.

    In evaluation mode all of it is linear, and `merge()` makes it a single K x K convolution with a bias. Parameters
    have the names of the released checkpoints: `lkb_origin`, `small_conv`, and `lkb_reparam` once merged.

    Args:
        kernel_size, small_kernel_size: odd; None leaves the small branch out, and `merge()` folds the BN all the same.
    """

    def __init__(self, channels: int, kernel_size: int, small_kernel_size: int | None) -> None:
        super().__init__()
        self.lkb_origin = Branch(channels, kernel_size)
        self.small_conv = None if small_kernel_size is None else Branch(channels, small_kernel_size)
        self.lkb_reparam: LargeKernelConv2d | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        if self.lkb_reparam is not None:
            output: Tensor = self.lkb_reparam(x)
            return output
        output = self.lkb_origin(x)
        return output if self.small_conv is None else output + self.small_conv(x)

    @torch.no_grad()
    def merge(self) -> None:
        """Replace the branches by `lkb_reparam`, equal to them in evaluation mode; a second call changes nothing."""
        if self.lkb_reparam is not None:
            return
        trained = self.lkb_origin.conv.weight
        weight, bias = fold_batch_norm(self.lkb_origin.conv, self.lkb_origin.bn)
        if self.small_conv is not None:
            small_weight, small_bias = fold_batch_norm(self.small_conv.conv, self.small_conv.bn)
            weight, bias = weight + pad_kernel(small_weight, weight.shape[-1]), bias + small_bias

        with on_meta_device():  # nothing is drawn for weights that are replaced
            merged = LargeKernelConv2d(len(weight), weight.shape[-1])
        merged.weight = nn.Parameter(weight.to(trained.dtype), requires_grad=trained.requires_grad)
        merged.bias = nn.Parameter(bias.to(trained.dtype), requires_grad=trained.requires_grad)
        self.lkb_reparam = merged.train(self.training)
        del self.lkb_origin
        self.small_conv = None


class Branch(nn.Sequential):
    """Depthwise convolution without bias, and BN."""

    conv: LargeKernelConv2d
    bn: nn.BatchNorm2d

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__(
            OrderedDict(conv=LargeKernelConv2d(channels, kernel_size, bias=False), bn=nn.BatchNorm2d(channels))
        )


def fold_batch_norm(convolution: nn.Conv2d, norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Weight (D, C, K, K) and bias (D,) of one convolution that equals a convolution and the BN after it.

    In double precision, so that a sum of folded branches is rounded once.
    """
    scale, shift = _affine(norm)
    weight, bias = convolution.weight.double() * scale[:, None, None, None], shift
    if convolution.bias is not None:
        bias = bias + scale * convolution.bias.double()
    return weight, bias


@torch.no_grad()
def fold_norm_after(layers: nn.Sequential, norm_name: str) -> None:
    """Fold a BN into `layers.conv`, before it, in place; the BN is gone. Where there is none, nothing changes."""
    convolution, norm = layers.get_submodule("conv"), getattr(layers, norm_name, None)
    if isinstance(norm, _BatchNorm):
        assert isinstance(convolution, nn.Conv2d)
        _replace_parameters(convolution, *fold_batch_norm(convolution, norm))
        delattr(layers, norm_name)


@torch.no_grad()
def fold_norm_before(norm: nn.Module, layers: nn.Sequential) -> nn.Module:
    """Fold a BN into `layers.conv`, the 1x1 convolution after it, in place; returns what takes the BN's place.

    1x1 without padding alone: a padded border has zeros behind the BN, not before it.
    """
    if not isinstance(norm, _BatchNorm):
        return norm
    convolution = layers.get_submodule("conv")
    assert isinstance(convolution, nn.Conv2d)
    assert convolution.kernel_size == (1, 1) and convolution.padding == (0, 0) and convolution.groups == 1
    scale, shift = _affine(norm)
    weight = convolution.weight.double()  # (D, C, 1, 1)
    bias = weight[:, :, 0, 0] @ shift
    if convolution.bias is not None:
        bias = bias + convolution.bias.double()
    _replace_parameters(convolution, weight * scale[:, None, None], bias)
    return nn.Identity()


def _affine(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Scale and shift (C,) of a BN in evaluation mode, in double precision."""
    mean, variance = norm.get_buffer("running_mean").double(), norm.get_buffer("running_var").double()
    scale = norm.weight.double() / (variance + norm.eps).sqrt()
    return scale, norm.bias.double() - mean * scale


def _replace_parameters(convolution: nn.Conv2d, weight: Tensor, bias: Tensor) -> None:
    old = convolution.weight
    convolution.weight = nn.Parameter(weight.to(old.dtype), requires_grad=old.requires_grad)
    convolution.bias = nn.Parameter(bias.to(old.dtype), requires_grad=old.requires_grad)


def pad_kernel(weight: Tensor, kernel_size: int) -> Tensor:
    """(C, 1, k, k) -> (C, 1, kernel_size, kernel_size), with zeros around: an odd kernel that computes the same."""
    return nn.functional.pad(weight, [(kernel_size - weight.shape[-1]) // 2] * 4)

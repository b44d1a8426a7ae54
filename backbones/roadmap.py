"""The roadmap from ResNet to ConvNeXt: every step a backbone for dense prediction.

ConvNeXt: "A ConvNet for the 2020s" (arXiv:2201.03545), sec. 2 and fig. 2; tables 10 (ResNet-50 to ConvNeXt-T) and 11
(ResNet-200 to ConvNeXt-B) name the steps and their multiply-adds. Rows 00 and 01 of the tables are one network under
two training recipes, here `resnet`. Where the paper is silent, its multiply-adds decide (strides, shortcuts, widths);
where these leave the matter open (biases, which norms and activations stay outside the blocks), the code of the
authors' submission does (github.com/anonymous20222022/convnext), but for the last step, which is ConvNeXt as published.

What differs from the classifier: pooling and head are gone, and each of the four stages gives a map. From `fewer_norms`
on the blocks end without a norm, and so the stages: there each output level has one of its own (`norm0` to `norm3`), of
the step's kind, as ConvNeXt has downstream. Weights start as PyTorch's layers do.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from timm.layers import DropPath, LayerNorm2d
from torch import Tensor, nn

from backbones.layers.large_kernel import LargeKernelConv2d
from backbones.registry import register
from backbones.staged import StagedConvNet


@dataclass(frozen=True)
class Step:
    """A network of the roadmap; the defaults are ResNet-50, and each step changes one of them."""

    depths: tuple[int, ...] = (3, 4, 6, 3)  # blocks in each stage
    width: int = 64  # channels of the narrow maps of the first stage; each stage doubles them
    patchify_stem: bool = False  # one 4x4 convolution of stride 4 for 7x7, BN, ReLU and max pooling
    depthwise: bool = False  # the spatial convolution of a block
    inverted: bool = False  # the map inside a block is the wide one, four times the other
    depthwise_first: bool = False  # before both 1x1 convolutions
    kernel_size: int = 3
    gelu: bool = False  # for ReLU
    fewer_activations: bool = False  # one in a block, between the 1x1 convolutions
    fewer_norms: bool = False  # one in a block, before the 1x1 convolutions
    layer_norm: bool = False  # for BN
    separate_downsampling: bool = False  # norm and 2x2 convolution between stages; a norm after the stem


def roadmap(start: Step, compute_ratio: dict[str, Any], width: int) -> dict[str, Step]:
    """The steps of one table under the slugs of their titles, in their order.

    Args:
        compute_ratio: what the step `stage_ratio` changes.
        width: that of `increase_width`.
    """
    changes: dict[str, dict[str, Any]] = {
        "resnet": {},
        "stage_ratio": compute_ratio,
        "patchify_stem": {"patchify_stem": True},
        "depthwise_conv": {"depthwise": True},
        "increase_width": {"width": width},
        "inverting_dimensions": {"inverted": True},
        "move_up_depthwise_conv": {"depthwise_first": True},
        "kernel_size_5": {"kernel_size": 5},
        "kernel_size_7": {"kernel_size": 7},
        "kernel_size_9": {"kernel_size": 9},
        "kernel_size_11": {"kernel_size": 11},
        "relu_to_gelu": {"gelu": True},
        "fewer_activations": {"fewer_activations": True},
        "fewer_norms": {"fewer_norms": True},
        "bn_to_ln": {"layer_norm": True},
        "separate_downsampling": {"separate_downsampling": True},
    }
    not_adopted = ("kernel_size_9", "kernel_size_11")  # the road goes on from kernel size 7
    steps = {}
    adopted = start
    for name, change in changes.items():
        steps[name] = replace(adopted, **change)
        if name not in not_adopted:
            adopted = steps[name]
    return steps


RESNET50 = roadmap(Step(), compute_ratio={"depths": (3, 3, 9, 3)}, width=96)
# "Stage ratio and increase width": ResNet-200 has its 66 blocks in another ratio than 1:1:9:1, and the wider network
# of 36 blocks keeps the cost (appendix C).
RESNET200 = roadmap(Step(depths=(3, 24, 36, 3)), compute_ratio={"depths": (3, 3, 27, 3), "width": 84}, width=128)


class Block(nn.Module):
    """Two 1x1 convolutions and a spatial one around a shortcut: ResNet's bottleneck, ConvNeXt's block, or in between.

    Args:
        width: channels of the narrow map of this stage.
        stride: of the spatial convolution and, where the shapes differ, of a 1x1 convolution in the shortcut.
        layer_scale_init_value: initial scale of the residual branch, one factor per channel; 0 leaves it out.
    """

    def __init__(
        self,
        step: Step,
        in_channels: int,
        width: int,
        stride: int,
        drop_path: float,
        layer_scale_init_value: float,
    ) -> None:
        super().__init__()
        inner, out_channels = (4 * width, width) if step.inverted else (width, 4 * width)
        if step.depthwise_first:
            self.conv1 = _spatial(step, in_channels, stride)
            self.conv2 = nn.Conv2d(in_channels, inner, kernel_size=1, bias=step.layer_norm)
        else:
            self.conv1 = nn.Conv2d(in_channels, inner, kernel_size=1, bias=step.layer_norm)
            self.conv2 = _spatial(step, inner, stride)
        self.conv3 = nn.Conv2d(inner, out_channels, kernel_size=1, bias=step.layer_norm)

        self.norm1 = _norm(step, self.conv1.out_channels)
        self.norm2 = nn.Identity() if step.fewer_norms else _norm(step, inner)
        self.norm3 = nn.Identity() if step.fewer_norms else _norm(step, out_channels)
        activation = nn.GELU if step.gelu else nn.ReLU
        self.act1 = nn.Identity() if step.fewer_activations else activation()
        self.act2 = activation()
        self.act3 = nn.Identity() if step.fewer_activations else activation()

        # Stage 1 has a convolution in the shortcut where its blocks widen the map, and none once they do not: so the
        # multiply-adds of "inverting dimensions". Its norm stays through all steps.
        self.shortcut = (
            nn.Identity()
            if stride == 1 and in_channels == out_channels
            else nn.Sequential(
                nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
                _norm(step, out_channels),
            )
        )
        self.gamma = (
            nn.Parameter(torch.full((out_channels,), float(layer_scale_init_value)))
            if layer_scale_init_value > 0
            else None
        )
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        y = self.act1(self.norm1(self.conv1(x)))
        y = self.act2(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        if self.gamma is not None:
            y = self.gamma[:, None, None] * y
        return self.act3(self.shortcut(x) + self.drop_path(y))


class RoadmapBackbone(StagedConvNet):
    """A step of the roadmap with a feature map from each of its four stages, at strides 4, 8, 16 and 32.

    Args:
        drop_path_rate: stochastic depth of the last block; the rate rises linearly from 0 at the first.
        layer_scale_init_value: of ConvNeXt's recipe (1e-6 on ImageNet, 1.0 downstream); the roadmap leaves it out.
        use_checkpoint: compute each block's inner maps again in the backward pass, to save memory.
        out_indices: stages whose maps are returned.
        frozen_stages: see `PyramidBackbone`.
    """

    def __init__(
        self,
        step: Step,
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float = 0.0,
        use_checkpoint: bool = False,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
    ) -> None:
        super().__init__()
        self.depths = step.depths
        widths = [step.width * 2**index for index in range(len(step.depths))]
        channels = widths if step.inverted else [4 * width for width in widths]
        self.use_checkpoint = use_checkpoint
        self.out_indices = tuple(out_indices)
        self.out_channels = tuple(channels[index] for index in self.out_indices)
        self.out_strides = tuple(4 * 2**index for index in self.out_indices)

        self.downsample_layers = nn.ModuleList([_stem(step)])
        for before, after in itertools.pairwise(channels):
            self.downsample_layers.append(
                nn.Sequential(_norm(step, before), nn.Conv2d(before, after, kernel_size=2, stride=2))
                if step.separate_downsampling
                else nn.Identity()
            )
        num_blocks = sum(step.depths)
        rates = iter(drop_path_rate * block / (num_blocks - 1) for block in range(num_blocks))
        last = step.width
        self.stages = nn.ModuleList()
        for index, (depth, width) in enumerate(zip(step.depths, widths, strict=True)):
            stage = nn.Sequential()
            if step.separate_downsampling:
                last = channels[index]
            for block, rate in enumerate(itertools.islice(rates, depth)):
                stride = 2 if index > 0 and block == 0 and not step.separate_downsampling else 1
                stage.append(Block(step, last, width, stride, rate, layer_scale_init_value))
                last = channels[index]
            self.stages.append(stage)
        for index in self.out_indices:
            self.add_module(f"norm{index}", _norm(step, channels[index]) if step.fewer_norms else nn.Identity())
        self.freeze(frozen_stages)

    def third_stage_depth(self, block: int, num_layers: int) -> int:
        """Shared out evenly (6 layers and 9 blocks, 12 and 27: three blocks a layer, as ConvNeXt's authors have it)."""
        return 3 + block * (num_layers - 3) // self.depths[2]


for _start, _steps in (("resnet50", RESNET50), ("resnet200", RESNET200)):
    for _name, _step in _steps.items():
        register(f"roadmap_{_start}_{_name}", step=_step)(RoadmapBackbone)


def _stem(step: Step) -> nn.Sequential:
    if step.patchify_stem:
        # The norm comes with separate downsampling (sec. 2.6); until then the convolution stands alone.
        norm = [_norm(step, step.width)] if step.separate_downsampling else []
        return nn.Sequential(nn.Conv2d(3, step.width, kernel_size=4, stride=4), *norm)
    return nn.Sequential(
        nn.Conv2d(3, step.width, kernel_size=7, stride=2, padding=3, bias=False),
        _norm(step, step.width),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
    )


def _spatial(step: Step, channels: int, stride: int) -> nn.Conv2d:
    bias = step.layer_norm  # the authors' code gives the blocks biases with LN, not with BN
    if step.depthwise:
        return LargeKernelConv2d(channels, step.kernel_size, bias=bias, stride=stride)
    return nn.Conv2d(channels, channels, step.kernel_size, stride=stride, padding=step.kernel_size // 2, bias=bias)


def _norm(step: Step, channels: int) -> nn.Module:
    return LayerNorm2d(channels, eps=1e-6) if step.layer_norm else nn.BatchNorm2d(channels)

"""RepLKNet for dense prediction: large depthwise kernels, up to 31x31.

"Scaling Up Your Kernels to 31x31: Revisiting Large Kernel Design in CNNs" (arXiv:2203.06717), sec. 4.1 and fig. 4 for
the architecture, sec. 4.2 and table 5 for the ladder of kernel sizes (RepLKNet-3 to 31; 31 is 31B), sec. 4.3 for the
sizes B, L and XL. What differs from the classifier: the head with its norm is gone, and each stage gives a map, as in
the authors' downstream code; for XL a BN of its own follows each output level (`stages.i.norm`). Parameter names are
those of the released checkpoints, in which these BNs are found after downstream training only.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import torch
from timm.layers import DropPath
from torch import Tensor, nn

from backbones.layers.checkpointing import run_layers
from backbones.layers.memory_layout import channels_last_on_cpu
from backbones.layers.norm import synchronize_norms
from backbones.layers.pointwise import PointwiseConv2d, pointwise_feed_forward
from backbones.layers.reparameterization import ReparameterizedConv2d, fold_norm_after, fold_norm_before
from backbones.pyramid import PyramidBackbone
from backbones.registry import register


class ReLU(nn.ReLU):
    """In place where no gradient needs what was there before."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return nn.functional.relu(x, inplace=not torch.is_grad_enabled())


class RepLKBlock(nn.Module):
    """BN, 1x1, large depthwise convolution, 1x1, around a shortcut (fig. 4).

    Args:
        inner_dim: channels of the depthwise convolution.
        small_kernel_size: kernel of the parallel branch; None for none.
    """

    def __init__(
        self, dim: int, inner_dim: int, kernel_size: int, small_kernel_size: int | None, drop_path: float
    ) -> None:
        super().__init__()
        self.prelkb_bn: nn.Module = nn.BatchNorm2d(dim)
        self.pw1 = _conv_bn(dim, inner_dim, relu=True)
        self.large_kernel = ReparameterizedConv2d(inner_dim, kernel_size, small_kernel_size)
        self.lk_nonlinear = ReLU()
        self.pw2 = _conv_bn(inner_dim, dim)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        branch = self.lk_nonlinear(self.large_kernel(self.pw1(self.prelkb_bn(x))))
        return x + self.drop_path(self.pw2(branch))


class ConvFFN(nn.Module):
    """BN, 1x1 to a wider map, GELU, 1x1 back, around a shortcut (fig. 4): the feed-forward network of a transformer."""

    def __init__(self, dim: int, inner_dim: int, drop_path: float) -> None:
        super().__init__()
        self.preffn_bn: nn.Module = nn.BatchNorm2d(dim)
        self.pw1 = _conv_bn(dim, inner_dim)
        self.nonlinear = nn.GELU()
        self.pw2 = _conv_bn(inner_dim, dim)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        if len(self.pw1) == len(self.pw2) == 1:  # merged: no BN between the convolutions
            first, second = self.pw1[0], self.pw2[0]
            assert isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d)
            return x + self.drop_path(pointwise_feed_forward(self.preffn_bn(x), first, second))
        return x + self.drop_path(self.pw2(self.nonlinear(self.pw1(self.preffn_bn(x)))))


class Stage(nn.Module):
    """Pairs of a RepLK block and a ConvFFN, and the norm of the output level (an identity where there is none)."""

    def __init__(self, blocks: Iterable[nn.Module], norm: nn.Module, use_checkpoint: bool) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.norm = norm
        self.use_checkpoint = use_checkpoint

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) -> the map for the next stage and the output level, both (N, C, H, W)."""
        x = run_layers(self.blocks, x, self.use_checkpoint and self.training)
        return x, self.norm(x)


# Table 5: one architecture, five kernel sizes; the small branch is there where the kernel is larger than 5x5.
@register("replknet_3", kernel_sizes=(3, 3, 3, 3))
@register("replknet_7", kernel_sizes=(7, 7, 7, 7))
@register("replknet_13", kernel_sizes=(13, 13, 13, 13))
@register("replknet_25", kernel_sizes=(25, 25, 25, 13))
@register("replknet_31b", kernel_sizes=(31, 29, 27, 13))
@register("replknet_31l", kernel_sizes=(31, 29, 27, 13), dims=(192, 384, 768, 1536))
@register(
    "replknet_xl",
    kernel_sizes=(27, 27, 27, 13),
    dims=(256, 512, 1024, 2048),
    small_kernel_size=None,
    bottleneck_ratio=1.5,
    norm_outputs=True,
)
class DenseRepLKNet(PyramidBackbone):
    """RepLKNet with a feature map from each of its four stages, at strides 4, 8, 16 and 32.

    Args:
        kernel_sizes: large kernel of each stage.
        depths: pairs of a RepLK block and a ConvFFN in each stage.
        dims: channels of each stage.
        small_kernel_size: parallel branch of the large kernels that are larger; None for none.
        bottleneck_ratio: channels of the large depthwise convolution over those of the stage.
        ffn_ratio: inner channels of the ConvFFN over those of the stage.
        drop_path_rate: stochastic depth of the last pair; the rate rises linearly from 0 at the first.
        norm_outputs: BN on each output level, before necks and heads, as the authors' XL recipes have it.
        use_sync_bn: SyncBN, as all released recipes have it; where there is no process group or no GPU it is BN.
        use_checkpoint: compute each layer's inner maps again in the backward pass, to save memory.
        out_indices: stages whose maps are returned.
        frozen_stages: see `PyramidBackbone`.
    """

    def __init__(
        self,
        kernel_sizes: Sequence[int] = (31, 29, 27, 13),
        depths: Sequence[int] = (2, 2, 18, 2),
        dims: Sequence[int] = (128, 256, 512, 1024),
        small_kernel_size: int | None = 5,
        bottleneck_ratio: float = 1.0,
        ffn_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        norm_outputs: bool = False,
        use_sync_bn: bool = True,
        use_checkpoint: bool = False,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
    ) -> None:
        super().__init__()
        self.depths = tuple(depths)
        self.use_checkpoint = use_checkpoint
        self.out_indices = tuple(out_indices)
        self.out_channels = tuple(dims[index] for index in self.out_indices)
        self.out_strides = tuple(4 * 2**index for index in self.out_indices)

        width = dims[0]
        self.stem = nn.Sequential(
            _conv_bn(3, width, kernel_size=3, stride=2, relu=True),
            _conv_bn(width, width, kernel_size=3, groups=width, relu=True),
            _conv_bn(width, width, relu=True),
            _conv_bn(width, width, kernel_size=3, stride=2, groups=width, relu=True),
        )
        num_pairs = sum(depths)
        rates = iter(drop_path_rate * pair / max(num_pairs - 1, 1) for pair in range(num_pairs))
        self.stages = nn.ModuleList()
        for index, (dim, depth, kernel_size) in enumerate(zip(dims, depths, kernel_sizes, strict=True)):
            small = small_kernel_size if small_kernel_size is not None and small_kernel_size < kernel_size else None
            blocks: list[nn.Module] = []
            for rate in itertools.islice(rates, depth):
                blocks.append(RepLKBlock(dim, int(dim * bottleneck_ratio), kernel_size, small, rate))
                blocks.append(ConvFFN(dim, int(dim * ffn_ratio), rate))
            norm = nn.BatchNorm2d(dim) if norm_outputs and index in self.out_indices else nn.Identity()
            self.stages.append(Stage(blocks, norm, use_checkpoint))
        self.transitions = nn.ModuleList(
            nn.Sequential(
                _conv_bn(before, after, relu=True),
                _conv_bn(after, after, kernel_size=3, stride=2, groups=after, relu=True),
            )
            for before, after in itertools.pairwise(dims)
        )
        if use_sync_bn:
            synchronize_norms(self)
        self.freeze(frozen_stages)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one (N, out_channels[i], H / out_strides[i], W / out_strides[i]), rounded up, per output."""
        outputs = []
        x = run_layers(self.stem, channels_last_on_cpu(x), self.use_checkpoint and self.training)
        for index, stage in enumerate(self.stages):
            if index > 0:
                x = self.transitions[index - 1](x)
            x, level = stage(x)
            if index in self.out_indices:
                outputs.append(level)
        return tuple(outputs)

    def merge_reparameterization(self, fold_norms: bool = True) -> None:
        """Merge the small kernels into the large ones, and all BNs into convolutions, in place, for testing.

        Outputs in evaluation mode stay the same; a second call changes nothing.

        Args:
            fold_norms: False keeps the BNs outside the large kernels: the form of the authors' `structural_reparam`,
                with its parameter names. BNs on output levels stay in both forms.
        """
        for module in list(self.modules()):
            if isinstance(module, ReparameterizedConv2d):
                module.merge()
        if not fold_norms:
            return
        for module in list(self.modules()):
            if isinstance(module, nn.Sequential) and hasattr(module, "conv"):
                fold_norm_after(module, "bn")
            elif isinstance(module, RepLKBlock):
                module.prelkb_bn = fold_norm_before(module.prelkb_bn, module.pw1)
            elif isinstance(module, ConvFFN):
                module.preffn_bn = fold_norm_before(module.preffn_bn, module.pw1)

    def layer_depth(self, parameter_name: str, decay_type: str, num_layers: int) -> int:
        """Depth of a parameter for learning-rate decay; the downstream recipes have none.

        `layer_wise`, as the authors fine-tune on ImageNet with 12 layers (optim_factory.py of their repository): stages
        1 and 2 are one layer each, stage 3 is shared out over the layers between (two pairs of blocks a layer of 12),
        stage 4 is the last; a transition goes with the blocks before it. `stage_wise`, as ConvNeXt's: stem and
        transitions 0, stage i at i + 1. An output norm goes with its stage.

        Raises:
            ValueError: a parameter that this backbone does not have, or another decay type.
        """
        parts = parameter_name.split(".")
        stage = self.stage_of(parameter_name) - 1  # refuses foreign names; -1 is the stem
        if decay_type == "stage_wise":
            return stage + 1 if parts[0] == "stages" else 0
        if decay_type != "layer_wise":
            raise ValueError(f"decay_type is 'layer_wise' or 'stage_wise', not '{decay_type}'.")
        if parts[0] == "stem":
            return 0
        if parts[0] == "transitions":
            return self._last_layer(stage - 1, num_layers)
        if parts[2] == "norm":
            return self._last_layer(stage, num_layers)
        return self._layer(stage, int(parts[3]) // 2, num_layers)

    def _last_layer(self, stage: int, num_layers: int) -> int:
        return self._layer(stage, self.depths[stage] - 1, num_layers)

    def _layer(self, stage: int, pair: int, num_layers: int) -> int:
        if stage == 2:
            # 12 layers and 18 pairs: 3 + pair // 2, layers 3 to 11.
            return min(3 + pair * (num_layers - 3) // self.depths[2], num_layers)
        return num_layers if stage == 3 else min(stage + 1, num_layers)

    def stage_of(self, parameter_name: str) -> int:
        """See `PyramidBackbone.stage_of`."""
        parts = parameter_name.split(".")
        if parts[0] == "stem":
            return 0
        if parts[0] in ("stages", "transitions"):
            return int(parts[1]) + (1 if parts[0] == "stages" else 2)
        raise ValueError(f"RepLKNet has no parameter '{parameter_name}'.")


def _conv_bn(
    in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1, groups: int = 1, relu: bool = False
) -> nn.Sequential:
    convolution = (
        PointwiseConv2d(in_channels, out_channels, bias=False)
        if kernel_size == 1
        else nn.Conv2d(
            in_channels, out_channels, kernel_size, stride=stride, padding=kernel_size // 2, groups=groups, bias=False
        )
    )
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv=convolution, bn=nn.BatchNorm2d(out_channels))
    if relu:
        layers["nonlinear"] = ReLU()
    return nn.Sequential(layers)

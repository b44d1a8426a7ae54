"""ConvNeXt and ConvNeXt V2 for dense prediction.

ConvNeXt: "A ConvNet for the 2020s" (arXiv:2201.03545), sec. 2 and appendix A.1 for the sizes. ConvNeXt V2:
"Co-designing and Scaling ConvNets with Masked Autoencoders" (arXiv:2301.00808), sec. 3.3 and appendix A.1: global
response normalization in the block, no layer scale. ConvNeXt with 31x31 kernels: RepLKNet (arXiv:2203.06717), sec. 5.3,
where kernels of 31, 29, 27 and 13 replace the 7x7 ones of the four stages, and nothing else changes: no small kernel
is trained beside them and merged, as in RepLKNet itself, whose branches end in a BN that this block does not have.

What differs from the classifier: the head is gone and every output level has a LayerNorm of its own (`norm0` to
`norm3`); parameter names are those of the released checkpoints.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from timm.layers import DropPath, LayerNorm2d, trunc_normal_
from torch import Tensor, nn

from backbones.layers.feed_forward import add_feed_forward, adds_in_chunks, feed_forward, feed_forward_grn
from backbones.layers.large_kernel import LargeKernelConv2d
from backbones.layers.linear import uses_onednn
from backbones.layers.memory_layout import channels_last_on_cpu
from backbones.layers.norm import GlobalResponseNorm
from backbones.registry import register
from backbones.staged import StagedConvNet


class Block(nn.Module):
    """Depthwise convolution, LayerNorm, 1x1 to four times the width, GELU, 1x1 back (ConvNeXt, sec. 2.6 and fig. 4).

    Args:
        kernel_size: of the depthwise convolution; 7 in the paper.
        layer_scale_init_value: initial scale of the residual branch, one factor per channel; 0 leaves it out.
        use_grn: global response normalization after the GELU (ConvNeXt V2).
    """

    def __init__(
        self, dim: int, kernel_size: int, drop_path: float, layer_scale_init_value: float, use_grn: bool
    ) -> None:
        super().__init__()
        self.dwconv = LargeKernelConv2d(dim, kernel_size)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.grn = GlobalResponseNorm(4 * dim) if use_grn else nn.Identity()
        self.pwconv2 = nn.Linear(4 * dim, dim)
        self.gamma = (
            nn.Parameter(torch.full((dim,), float(layer_scale_init_value))) if layer_scale_init_value > 0 else None
        )
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        residual = x
        x = self.norm(self.dwconv(x).permute(0, 2, 3, 1))  # (N, C, H, W) -> (N, H, W, C)
        weight: Tensor = self.pwconv2.weight
        bias: Tensor = self.pwconv2.bias
        scale: Tensor | None = self.gamma
        has_grn = isinstance(self.grn, GlobalResponseNorm)
        if scale is not None and not has_grn and not self.training and adds_in_chunks(x):
            weights = (self.pwconv1.weight, self.pwconv1.bias, weight, bias)
            return add_feed_forward(residual.permute(0, 2, 3, 1), x, *weights, scale).permute(0, 3, 1, 2)
        # In training it is cheaper to scale the weights than the map; not under autocast, where 1e-6 of one may be 0.
        if scale is not None and torch.is_grad_enabled() and uses_onednn(x) and not torch.is_autocast_enabled("cpu"):
            weight, bias, scale = scale[:, None] * weight, scale * bias, None
        if isinstance(self.grn, GlobalResponseNorm):
            x = feed_forward_grn(x, self.pwconv1.weight, self.pwconv1.bias, self.grn, weight, bias)
        else:
            x = feed_forward(x, self.pwconv1.weight, self.pwconv1.bias, weight, bias)
        x = self.drop_path(x.permute(0, 3, 1, 2))  # (N, H, W, C) -> (N, C, H, W)
        return residual + x if scale is None else torch.addcmul(residual, x, scale[:, None, None])


@register("convnext_t", depths=(3, 3, 9, 3), dims=(96, 192, 384, 768))
@register("convnext_s", depths=(3, 3, 27, 3), dims=(96, 192, 384, 768))
@register("convnext_b", depths=(3, 3, 27, 3), dims=(128, 256, 512, 1024))
@register("convnext_l", depths=(3, 3, 27, 3), dims=(192, 384, 768, 1536))
@register("convnext_xl", depths=(3, 3, 27, 3), dims=(256, 512, 1024, 2048))
@register("convnext_t_k31", depths=(3, 3, 9, 3), dims=(96, 192, 384, 768), kernel_sizes=(31, 29, 27, 13))
@register("convnext_s_k31", depths=(3, 3, 27, 3), dims=(96, 192, 384, 768), kernel_sizes=(31, 29, 27, 13))
class DenseConvNeXt(StagedConvNet):
    """ConvNeXt with a normalized feature map from each stage, at strides 4, 8, 16 and 32.

    Args:
        depths: blocks in each of the four stages.
        dims: channels of each stage.
        kernel_sizes: kernel of the depthwise convolutions in each stage.
        drop_path_rate: stochastic depth of the last block; the rate rises linearly from 0 at the first.
        layer_scale_init_value: 1e-6 for ImageNet training, 1.0 in the authors' downstream recipes.
        use_grn: the V2 block.
        use_checkpoint: compute each block's inner maps again in the backward pass, to save memory.
        out_indices: stages whose maps are returned.
        frozen_stages: see `PyramidBackbone`.
    """

    def __init__(
        self,
        depths: Sequence[int] = (3, 3, 9, 3),
        dims: Sequence[int] = (96, 192, 384, 768),
        kernel_sizes: Sequence[int] = (7, 7, 7, 7),
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float = 1e-6,
        use_grn: bool = False,
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

        stem = nn.Sequential(nn.Conv2d(3, dims[0], kernel_size=4, stride=4), LayerNorm2d(dims[0], eps=1e-6))
        between = [
            nn.Sequential(LayerNorm2d(before, eps=1e-6), nn.Conv2d(before, after, kernel_size=2, stride=2))
            for before, after in itertools.pairwise(dims)
        ]
        self.downsample_layers = nn.ModuleList([stem, *between])

        num_blocks = sum(depths)
        rates = iter(drop_path_rate * block / max(num_blocks - 1, 1) for block in range(num_blocks))
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(Block(dim, kernel_size, next(rates), layer_scale_init_value, use_grn) for _ in range(depth))
            )
            for depth, dim, kernel_size in zip(depths, dims, kernel_sizes, strict=True)
        )
        for index in self.out_indices:
            self.add_module(f"norm{index}", LayerNorm2d(dims[index], eps=1e-6))
        self.apply(_init_weights)
        self.freeze(frozen_stages)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """See `StagedConvNet.forward`."""
        return super().forward(channels_last_on_cpu(x))

    def third_stage_depth(self, block: int, num_layers: int) -> int:
        """Three blocks a layer, as the authors have it.

        Their formula passes num_layers for 27 blocks and 6 layers, which no recipe combines: a rate above the base
        rate. There the depth stops at the last layer.
        """
        return min(3 + block // 3, num_layers)


@register("convnextv2_atto", depths=(2, 2, 6, 2), dims=(40, 80, 160, 320))
@register("convnextv2_femto", depths=(2, 2, 6, 2), dims=(48, 96, 192, 384))
@register("convnextv2_pico", depths=(2, 2, 6, 2), dims=(64, 128, 256, 512))
@register("convnextv2_nano", depths=(2, 2, 8, 2), dims=(80, 160, 320, 640))
@register("convnextv2_tiny", depths=(3, 3, 9, 3), dims=(96, 192, 384, 768))
@register("convnextv2_base", depths=(3, 3, 27, 3), dims=(128, 256, 512, 1024))
@register("convnextv2_large", depths=(3, 3, 27, 3), dims=(192, 384, 768, 1536))
@register("convnextv2_huge", depths=(3, 3, 27, 3), dims=(352, 704, 1408, 2816))
class DenseConvNeXtV2(DenseConvNeXt):
    """ConvNeXt V2: `DenseConvNeXt` with global response normalization in place of layer scale."""

    def __init__(
        self,
        depths: Sequence[int] = (3, 3, 9, 3),
        dims: Sequence[int] = (96, 192, 384, 768),
        drop_path_rate: float = 0.0,
        use_checkpoint: bool = False,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
    ) -> None:
        super().__init__(
            depths=depths,
            dims=dims,
            drop_path_rate=drop_path_rate,
            layer_scale_init_value=0.0,
            use_grn=True,
            use_checkpoint=use_checkpoint,
            out_indices=out_indices,
            frozen_stages=frozen_stages,
        )


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

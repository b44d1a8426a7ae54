"""Isotropic ConvNeXt for dense prediction.

"A ConvNet for the 2020s" (arXiv:2201.03545), sec. 3.3 and table 2: ConvNeXt blocks at stride 16 throughout, as in a
vision transformer, behind a 16x16 convolution. What differs from the classifier: the head is gone, the final norm
normalizes every position of the map instead of its mean, images of any size are padded to multiples of 16 pixels, and
a simple feature pyramid makes four maps of the one. Parameter names of the trunk are those of the released checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence

from timm.layers import LayerNorm2d, trunc_normal_
from torch import Tensor, nn

from backbones.convnext import Block
from backbones.layers.checkpointing import run_layers
from backbones.layers.image_size import crop_to_image, pad_to_multiple
from backbones.layers.memory_layout import channels_last_on_cpu
from backbones.layers.simple_feature_pyramid import PYRAMID_STRIDES, SimpleFeaturePyramid
from backbones.pyramid import PyramidBackbone
from backbones.registry import register

STRIDE = 16
NUM_STAGES = 4


@register("convnext_iso_s", depth=18, dim=384)
@register("convnext_iso_b", depth=18, dim=768)
@register("convnext_iso_l", depth=36, dim=1024)
class DenseIsotropicConvNeXt(PyramidBackbone):
    """Isotropic ConvNeXt with maps at strides 4, 8, 16 and 32.

    For freezing and stage-wise learning rates, the blocks are four stages of equal length, as ViTDet divides a plain
    transformer.

    Args:
        depth: number of blocks.
        dim: channels of the trunk; the pyramid's finer levels have a half and a quarter.
        drop_path_rate: stochastic depth of the last block; the rate rises linearly from 0 at the first.
        layer_scale_init_value: 0, for none, as released.
        use_checkpoint: compute each block's inner maps again in the backward pass, to save memory.
        out_indices: levels of the pyramid that are returned.
        frozen_stages: see `PyramidBackbone`.
    """

    def __init__(
        self,
        depth: int = 18,
        dim: int = 384,
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float = 0.0,
        use_checkpoint: bool = False,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
    ) -> None:
        super().__init__()
        self.depth = depth
        self.use_checkpoint = use_checkpoint
        self.stem = nn.Conv2d(3, dim, kernel_size=STRIDE, stride=STRIDE)
        rates = [drop_path_rate * block / max(depth - 1, 1) for block in range(depth)]
        self.blocks = nn.Sequential(
            *(
                Block(
                    dim=dim,
                    kernel_size=7,
                    drop_path=rate,
                    layer_scale_init_value=layer_scale_init_value,
                    use_grn=False,
                )
                for rate in rates
            )
        )
        self.norm = LayerNorm2d(dim, eps=1e-6)
        self.apply(_init_weights)
        self.out_indices = tuple(out_indices)
        self.out_strides = tuple(PYRAMID_STRIDES[index] for index in self.out_indices)
        self.pyramid = SimpleFeaturePyramid(dim, STRIDE, self.out_strides)
        self.out_channels = self.pyramid.out_channels
        self.freeze(frozen_stages)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one (N, out_channels[i], ceil(H / out_strides[i]), ceil(W / out_strides[i])) per level."""
        return crop_to_image(self.pyramid(self.forward_trunk(x)), self.out_strides, (x.shape[2], x.shape[3]))

    def forward_trunk(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, dim, ceil(H / 16), ceil(W / 16)), normalized."""
        x = self.stem(channels_last_on_cpu(pad_to_multiple(x, STRIDE)))
        x = run_layers(self.blocks, x, self.use_checkpoint and self.training)
        normalized: Tensor = self.norm(x)
        return normalized

    def layer_depth(self, parameter_name: str, decay_type: str, num_layers: int) -> int:
        """Depth of a parameter for learning-rate decay; no published recipe of this form has it.

        `layer_wise`: stem 0, then the blocks in their order, evenly spread over 1..num_layers. `stage_wise`: stem 0,
        stage i at i + 1. The norm goes with the last block; the pyramid is new downstream and keeps the full rate,
        num_layers + 1.

        Raises:
            ValueError: a parameter that this backbone does not have, or another decay type.
        """
        stage = self.stage_of(parameter_name)
        parts = parameter_name.split(".")
        if decay_type not in ("layer_wise", "stage_wise"):
            raise ValueError(f"decay_type is 'layer_wise' or 'stage_wise', not '{decay_type}'.")
        if parts[0] == "pyramid":
            return num_layers + 1
        if stage == 0 or decay_type == "stage_wise":
            return stage
        if parts[0] == "norm":
            return num_layers
        return 1 + int(parts[1]) * num_layers // self.depth

    def stage_of(self, parameter_name: str) -> int:
        """See `PyramidBackbone.stage_of`; the pyramid comes after all stages."""
        parts = parameter_name.split(".")
        if parts[0] == "stem":
            return 0
        if parts[0] == "blocks":
            return 1 + int(parts[1]) * NUM_STAGES // self.depth
        if parts[0] == "norm":
            return NUM_STAGES
        if parts[0] == "pyramid":
            return NUM_STAGES + 1
        raise ValueError(f"Isotropic ConvNeXt has no parameter '{parameter_name}'.")


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

"""Swin Transformer for dense prediction.

"Swin Transformer: Hierarchical Vision Transformer using Shifted Windows" (arXiv:2103.14030), sec. 3 and table 7 for the
sizes. What differs from the classifier: the head and its norm are gone, every output level has a LayerNorm of its own
(`norm0` to `norm3`), and maps of any size are padded to full windows. The order is that of the authors' detection and
segmentation code: pad, then shift, in every stage; timm's own model shifts first and does not shift in a stage that
is one window at the size of the pretraining. Attention, patch embedding and merging are timm's; parameter names are
those of the released checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence

from timm.layers import PatchEmbed, trunc_normal_
from torch import Tensor, nn
from torch.nn import functional

from backbones.pyramid import PyramidBackbone
from backbones.registry import register


@register("swin_t", embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24))
@register("swin_s", embed_dim=96, depths=(2, 2, 18, 2), num_heads=(3, 6, 12, 24))
@register("swin_b", embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32))
@register("swin_l", embed_dim=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48))
class DenseSwin(PyramidBackbone):
    """Swin with a normalized feature map from each stage, at strides 4, 8, 16 and 32.

    Args:
        embed_dim: channels of the first stage, doubled by each following one.
        depths: blocks in each of the four stages.
        num_heads: attention heads in each stage.
        window_size: 7; 12 for weights from 384x384 pixels (the authors' Swin-B and -L of ImageNet-22K).
        drop_path_rate: stochastic depth of the last block; the rate rises linearly from 0 at the first.
        use_checkpoint: compute each block's inner maps again in the backward pass, to save memory.
        out_indices: stages whose maps are returned.
        frozen_stages: see `PyramidBackbone`.
    """

    def __init__(
        self,
        embed_dim: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        window_size: int = 7,
        drop_path_rate: float = 0.0,
        use_checkpoint: bool = False,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
    ) -> None:
        from backbones.layers.swin_stage import Stage  # here, because timm's models take a second to import

        super().__init__()
        self.depths = tuple(depths)
        dims = [embed_dim * 2**index for index in range(len(depths))]
        self.use_checkpoint = use_checkpoint
        self.out_indices = tuple(out_indices)
        self.out_channels = tuple(dims[index] for index in self.out_indices)
        self.out_strides = tuple(4 * 2**index for index in self.out_indices)

        self.patch_embed = PatchEmbed(
            img_size=None,
            patch_size=4,
            embed_dim=embed_dim,
            norm_layer=nn.LayerNorm,
            output_fmt="NHWC",
            dynamic_img_pad=True,
        )
        num_blocks = sum(depths)
        rates = [drop_path_rate * block / max(num_blocks - 1, 1) for block in range(num_blocks)]
        self.layers = nn.ModuleList(
            Stage(
                dim=dim,
                num_heads=heads,
                window_size=window_size,
                drop_path_rates=rates[sum(depths[:index]) : sum(depths[: index + 1])],
                has_downsample=index < len(depths) - 1,
            )
            for index, (dim, heads) in enumerate(zip(dims, num_heads, strict=True))
        )
        for index in self.out_indices:
            self.add_module(f"norm{index}", nn.LayerNorm(dims[index]))
        self.apply(_init_weights)
        self.freeze(frozen_stages)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one (N, out_channels[i], ceil(H / out_strides[i]), ceil(W / out_strides[i])) per stage."""
        outputs = []
        x = self.patch_embed(x)  # (N, 3, H, W) -> (N, H / 4, W / 4, C)
        for index, stage in enumerate(self.layers):
            stage_map, x = stage(x, self.use_checkpoint and self.training)
            if index in self.out_indices:
                normalized = self.get_submodule(f"norm{index}")(stage_map)
                outputs.append(normalized.permute(0, 3, 1, 2).contiguous())  # (N, H, W, C) -> (N, C, H, W)
        return tuple(outputs)

    def layer_depth(self, parameter_name: str, decay_type: str, num_layers: int) -> int:
        """Depth of a parameter for learning-rate decay; Swin's own recipes have none.

        `layer_wise`: patch embedding 0, then the blocks in their order, one layer each where num_layers is their
        number (as SimMIM fine-tunes Swin) and evenly spread else; a merging goes with the last block before it.
        `stage_wise`: patch embedding 0, stage i and the merging that leads to it i + 1. Output norms are new
        downstream and keep the full rate, num_layers + 1.

        Raises:
            ValueError: a parameter that this backbone does not have, or another decay type.
        """
        stage = self.stage_of(parameter_name)
        parts = parameter_name.split(".")
        if decay_type not in ("layer_wise", "stage_wise"):
            raise ValueError(f"decay_type is 'layer_wise' or 'stage_wise', not '{decay_type}'.")
        if parts[0].startswith("norm"):
            return num_layers + 1
        if stage == 0 or decay_type == "stage_wise":
            return stage
        before = sum(self.depths[: int(parts[1])])
        block = before + (int(parts[3]) if parts[2] == "blocks" else self.depths[int(parts[1])] - 1)
        return 1 + block * num_layers // sum(self.depths)

    def stage_of(self, parameter_name: str) -> int:
        """See `PyramidBackbone.stage_of`."""
        parts = parameter_name.split(".")
        if parts[0] == "patch_embed":
            return 0
        if parts[0] == "layers":
            return int(parts[1]) + (2 if parts[2] == "downsample" else 1)
        if parts[0].startswith("norm"):
            return int(parts[0].removeprefix("norm")) + 1
        raise ValueError(f"Swin has no parameter '{parameter_name}'.")


def swin_state(state: dict[str, Tensor], window_size: int = 7) -> dict[str, Tensor]:
    """The backbone's part of a state dict in the authors' layout (ImageNet or downstream), fit for `DenseSwin`.

    Names stay. What can be derived (`relative_position_index`, `attn_mask`) and the classifier with its norm are left
    out; position tables of another window are resized (bicubic, as the authors do).
    """
    return {
        name: _resized_table(value, window_size) if name.endswith("relative_position_bias_table") else value
        for name, value in state.items()
        if name.split(".")[0] not in ("norm", "head") and name.split(".")[-1] not in _DERIVED
    }


_DERIVED = ("relative_position_index", "attn_mask")


def _resized_table(table: Tensor, window_size: int) -> Tensor:
    """((2 * window - 1) ** 2, heads) of any window -> that of `window_size`."""
    length, heads = table.shape
    source, target = round(length**0.5), 2 * window_size - 1
    if source == target:
        return table
    grid = table.T.reshape(1, heads, source, source)
    return functional.interpolate(grid, size=(target, target), mode="bicubic").reshape(heads, target**2).T.contiguous()


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

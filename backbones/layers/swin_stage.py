"""A stage of Swin: timm's blocks and merging, padded as the authors' dense-prediction code does."""

from __future__ import annotations

from collections.abc import Sequence

from timm.models.swin_transformer import PatchMerging, SwinTransformerBlock
from torch import Tensor, nn
from torch.nn import functional

from backbones.layers.checkpointing import run_layers


class Block(SwinTransformerBlock):
    """timm's block, with the padding of the authors' dense-prediction code."""

    def _attn(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, H, W, C): pad to whole windows first, so that what timm shifts needs no padding."""
        height, width = x.shape[1:3]
        window_height, window_width = self.window_size
        x = functional.pad(x, (0, 0, 0, -width % window_width, 0, -height % window_height))
        x = super()._attn(x)
        return x[:, :height, :width].contiguous()


class Stage(nn.Module):
    """Blocks at one resolution, every second with shifted windows, then the merging that leads to the next stage."""

    def __init__(
        self, dim: int, num_heads: int, window_size: int, drop_path_rates: Sequence[float], has_downsample: bool
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                Block(
                    dim=dim,
                    input_resolution=(window_size, window_size),  # no matter, with the two options below
                    num_heads=num_heads,
                    window_size=window_size,
                    shift_size=window_size // 2 if index % 2 else 0,
                    always_partition=True,
                    dynamic_mask=True,
                    drop_path=rate,
                )
                for index, rate in enumerate(drop_path_rates)
            )
        )
        self.downsample = PatchMerging(dim) if has_downsample else nn.Identity()

    def forward(self, x: Tensor, checkpointed: bool = False) -> tuple[Tensor, Tensor]:
        """(N, H, W, C) -> the stage's map (N, H, W, C), and what the next stage takes (N, H / 2, W / 2, 2 * C)."""
        x = run_layers(self.blocks, x, checkpointed)
        return x, self.downsample(x)

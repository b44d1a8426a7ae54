"""The 3x3 convolution over joined maps of several sizes, by whichever way is the fastest."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from densebench.heads.enlargement import add_enlarged_3x3
from densebench.heads.winograd import convolve_3x3

# Below these the plain convolution is as fast, for what the other ways save is less than what they spend on moving
# data around (docs/performance.md).
MIN_CHANNELS_OF_TILES = 256
MIN_PIXELS_OF_TILES = 48 * 48
MIN_CHANNELS_OF_ENLARGED = 128
MIN_PIXELS_OF_ENLARGED = 16 * 16


def convolve_joined(
    full: Tensor, small: Sequence[Tensor], weight: Tensor, bias: Tensor | None, align_corners: bool
) -> Tensor:
    """Convolve a map and the bilinear enlargements of smaller ones to its size, joined in this order.

    (N, C, H, W), maps of (N, C_i, h_i, w_i), (O, C + sum of C_i, 3, 3) -> (N, O, H, W), with zeros around the map as
    `conv2d(cat([full, *enlarged], 1), weight, bias, padding=1)` has them. Under autocast, in its precision.
    """
    device = full.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        precision = torch.get_autocast_dtype(device)
        full, weight = full.to(precision), weight.to(precision)
        small = [level.to(precision) for level in small]
    if small and not _saves_by_enlarging(full, small, weight):
        size = full.shape[2:]
        enlarged = [
            functional.interpolate(level, size, mode="bilinear", align_corners=align_corners) for level in small
        ]
        return functional.conv2d(torch.cat([full, *enlarged], dim=1), weight, bias, padding=1)
    own = weight[:, : full.shape[1]]
    output = convolve_3x3(full, own) if _saves_by_tiles(full, own) else functional.conv2d(full, own, padding=1)
    if small:
        output = add_enlarged_3x3(output, small, weight[:, full.shape[1] :], align_corners)
    # Weights and maps were cast by hand; the bias is too small to matter.
    return output if bias is None else output.add_(bias.to(output.dtype)[:, None, None])


def _saves_by_tiles(full: Tensor, weight: Tensor) -> bool:
    # Half precision has too few digits for the tiles, and GPUs have libraries that choose for themselves.
    is_precise = full.dtype in (torch.float32, torch.float64) and full.device.type in ("cpu", "meta")
    return is_precise and min(weight.shape[:2]) >= MIN_CHANNELS_OF_TILES and full[0, 0].numel() >= MIN_PIXELS_OF_TILES


def _saves_by_enlarging(full: Tensor, small: Sequence[Tensor], weight: Tensor) -> bool:
    pixels = full[0, 0].numel()
    shrinks = all(2 * level[0, 0].numel() <= pixels for level in small)
    return (
        shrinks
        and min(len(weight), *(level.shape[1] for level in small)) >= MIN_CHANNELS_OF_ENLARGED
        and (pixels >= MIN_PIXELS_OF_ENLARGED)
    )

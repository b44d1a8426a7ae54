"""The two linear layers of a ConvNeXt block with the GELU between them, over the channels of (N, H, W, C) maps."""

from __future__ import annotations

import torch
from torch import Tensor

from backbones.layers.linear import linear, linear_gelu, uses_onednn
from backbones.layers.norm import GlobalResponseNorm

# Positions of a map that go through both layers at a time: what lies between the layers, four times as wide, then stays
# in the cache, and mostly below the 32 MB from which on the C library hands memory back to the system after each use.
ROWS_PER_THREAD = 1024


def feed_forward(x: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor) -> Tensor:
    """Linear, GELU, linear: (N, H, W, C), (D, C), (D,), (E, D), (E,) -> (N, H, W, E)."""
    if not uses_onednn(x):
        return linear(linear_gelu(x, weight1, bias1), weight2, bias2)
    outputs = [linear(linear_gelu(rows, weight1, bias1), weight2, bias2) for rows in _chunks(x)]
    return torch.cat(outputs).unflatten(0, x.shape[:-1])


def adds_in_chunks(x: Tensor) -> bool:
    """Whether `add_feed_forward` can compute on a map."""
    return uses_onednn(x) and not torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")


def add_feed_forward(
    residual: Tensor, x: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor, scale: Tensor
) -> Tensor:
    """`residual` (N, H, W, E) + `scale` (E,) * `feed_forward`, added while it is in the cache; without gradients."""
    output = torch.empty_like(residual, memory_format=torch.contiguous_format)
    for rows, before, after in zip(_chunks(x), _chunks(residual), _chunks(output), strict=True):
        hidden = linear_gelu(rows, weight1, bias1)
        torch.addcmul(before, linear(hidden, weight2, bias2), scale, out=after)
    return output


def _chunks(x: Tensor) -> tuple[Tensor, ...]:
    """(N, H, W, C) -> (rows, C) each."""
    return x.flatten(0, -2).split(ROWS_PER_THREAD * torch.get_num_threads())


def feed_forward_grn(
    x: Tensor, weight1: Tensor, bias1: Tensor, grn: GlobalResponseNorm, weight2: Tensor, bias2: Tensor
) -> Tensor:
    """`feed_forward` with global response normalization after the GELU (ConvNeXt V2, sec. 3.3)."""
    if not uses_onednn(x):
        return linear(grn(linear_gelu(x, weight1, bias1)), weight2, bias2)
    # Within one image the normalization is a factor and a term per channel, which go into the second layer.
    bias2 = bias2 + (weight2 * grn.beta.flatten()).sum(1)
    outputs = []
    for image in x:
        hidden = linear_gelu(image, weight1, bias1)
        outputs.append(linear(hidden, weight2 * grn.scale(hidden).flatten(), bias2))
    return torch.stack(outputs)

"""Normalization layers that timm does not have in the form of the released checkpoints."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GlobalResponseNorm(nn.Module):
    """Global response normalization of channels-last maps (ConvNeXt V2, sec. 3.3, algorithm 1).

    Each channel is scaled by its share of the response: its L2 norm over the map, divided by the mean of these
    norms over the channels. Parameters have the shape of the released checkpoints, (1, 1, 1, C).
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, H, W, C)."""
        return torch.addcmul(self.beta, x, self.scale(x))

    def scale(self, x: Tensor) -> Tensor:
        """(..., H, W, C) -> (..., 1, 1, C): the factor of each channel."""
        response = _norm_over_map(x)
        share = response / (response.mean(dim=-1, keepdim=True) + self.eps)
        return 1 + self.gamma.flatten() * share


def _norm_over_map(x: Tensor) -> Tensor:
    if x.device.type != "cpu" or x.dtype == torch.float16:  # whose squares overflow
        return torch.linalg.vector_norm(x, dim=(-3, -2), keepdim=True)
    # torch's norm along outer dimensions takes 4 to 10 times as long on the CPU. At zero the root has no gradient.
    squares = x.square().sum(dim=(-3, -2), keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
    return squares.clamp_min(torch.finfo(squares.dtype).tiny).sqrt()


def synchronize_norms(module: nn.Module) -> None:
    """Turn the batch norms inside a module into SyncBN where that can run.

    SyncBN without a process group has nothing to synchronize, and with one it refuses the CPU.
    """
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    if distributed and torch.cuda.is_available():
        nn.SyncBatchNorm.convert_sync_batchnorm(module)

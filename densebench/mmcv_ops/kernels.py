"""torchvision's kernels, and the precision in which they are called."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def torchvision_kernels() -> Any:
    """The namespace of torchvision's operators, `torch.ops.torchvision`."""
    import torchvision  # noqa: F401  registers them; here, because it costs a second the first time

    return torch.ops.torchvision


def full_precision(tensor: Tensor) -> Tensor:
    """The tensor in float32 at least; float64 stays.

    Half precision cannot hold pixel coordinates, and torchvision has no bfloat16 kernels on the CPU; it, too,
    computes these operators in float32 under autocast.
    """
    return tensor if tensor.dtype == torch.float64 else tensor.float()

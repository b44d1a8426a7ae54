"""The memory layout in which a network of depthwise convolutions and linear layers over channels computes."""

from __future__ import annotations

import torch
from torch import Tensor


def channels_last_on_cpu(images: Tensor) -> Tensor:
    """(N, C, H, W), on the CPU laid out as (N, H, W, C), elsewhere as it comes.

    Convolutions and LayerNorm2d keep the layout, so that turning maps to (N, H, W, C) for linear layers copies nothing.
    """
    return images.contiguous(memory_format=torch.channels_last) if images.device.type == "cpu" else images

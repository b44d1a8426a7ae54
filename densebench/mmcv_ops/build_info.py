"""What mmcv reports of its build in the environment summary of a run."""

from __future__ import annotations

import torch


def get_compiler_version() -> str:
    """The compiler of the operators, for `mmcv.utils.collect_env`: here none of mmcv's."""
    return "none (densebench.mmcv_ops on torchvision's kernels)"


def get_compiling_cuda_version() -> str:
    """The CUDA version that torch, and with it torchvision's kernels, is built for."""
    return torch.version.cuda or "not available"

"""Several processes: what mmengine leaves open."""

from __future__ import annotations

import os

import torch
from torch import distributed


def join_process_group(launcher: str) -> None:
    """Join the processes that torchrun started on the CPU; on GPUs mmengine's Runner does it.

    mmengine's own start-up sets a CUDA device whatever the backend is.
    """
    if launcher == "pytorch" and not torch.cuda.is_available() and not distributed.is_initialized():
        distributed.init_process_group("gloo")


def is_main_process() -> bool:
    """Whether this process speaks and writes for all; known before any process group is."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"

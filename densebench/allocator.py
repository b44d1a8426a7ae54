"""How the C library deals with memory that is freed."""

from __future__ import annotations

import ctypes
import os
import sys

# mallopt's parameters, from glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
LARGEST = 2**31 - 1

# Whoever sets one of these has made a choice already.
CHOICES = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")


def keep_freed_memory() -> bool:
    """Let this process and its forks keep what they free for their next maps; whether that was possible.

    glibc takes each block above 32 MB from the system and hands it back when it is freed. A network on the CPU does so
    with every map of every step, and the system fills all its pages with zeros each time. On systems without glibc, or
    where the environment says how to allocate, nothing is changed, nor where a GPU holds the maps.
    """
    import torch

    if torch.cuda.is_available() or sys.platform != "linux" or any(name.startswith(CHOICES) for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(
        mallopt(parameter, value) for parameter, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, LARGEST))
    )

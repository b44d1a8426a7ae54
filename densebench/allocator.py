"""How the C library deals with memory that is freed."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable

# mallopt's parameters and the value for "never", from glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = -1

# Whoever sets one of these has made a choice already.
CHOICES = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")


def keep_freed_memory() -> bool:
    """Let this process and its forks keep what they free for their next maps; whether that was possible.

    glibc takes each block above 32 MB from the system and hands it back when it is freed. A network on the CPU does so
    with every map of every step, and the system fills all its pages with zeros each time. On systems without glibc, or
    where the environment says how to allocate, nothing is changed, nor where a GPU holds the maps.
    """
    import torch

    if torch.cuda.is_available() or any(name.startswith(CHOICES) for name in os.environ):
        return False
    mallopt = _function("mallopt")
    return mallopt is not None and bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))


def release_freed_memory() -> None:
    """Hand what is kept back to the system, before it is asked how much it has left."""
    malloc_trim = _function("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def _function(name: str) -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None

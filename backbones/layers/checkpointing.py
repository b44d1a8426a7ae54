"""Gradient checkpointing: inner maps are computed a second time in the backward pass instead of being kept."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def run_layers(layers: Iterable[nn.Module], x: Tensor, checkpointed: bool) -> Tensor:
    """One layer after the other; if `checkpointed`, only what goes into each is kept for the backward pass.

    Running statistics are updated once, in the forward pass, so that a training step leaves the same state behind with
    and without checkpointing; torch's `checkpoint` alone updates them again when it computes the maps anew.
    """
    for layer in layers:
        if checkpointed and torch.is_grad_enabled():
            x = checkpoint(layer, x, use_reentrant=False, context_fn=functools.partial(_contexts, layer))
        else:
            x = layer(x)
    return x


def _contexts(layer: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _StatisticsHeld(layer)


class _StatisticsHeld(AbstractContextManager[None]):
    # A class, not a generator: a graph that is retained can be run backward, and this entered, more than once.
    def __init__(self, layer: nn.Module) -> None:
        self.norms = [module for module in layer.modules() if isinstance(module, _BatchNorm)]
        self.momenta = [norm.momentum for norm in self.norms]
        self.counters = [norm.num_batches_tracked for norm in self.norms]

    def __enter__(self) -> None:
        for norm in self.norms:
            norm.momentum = 0.0
            norm.num_batches_tracked = norm.get_buffer("num_batches_tracked").clone()

    def __exit__(self, *error: object) -> None:
        for norm, momentum, counter in zip(self.norms, self.momenta, self.counters, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked = counter

"""Modules whose initial weights are never looked at: counted on the meta device, or filled from a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# What initial weights are made with, in place: the tensor it returns is the one it was given.
VALUES_ALONE = frozenset(
    (
        *(Tensor.add_, Tensor.clamp_, Tensor.copy_, Tensor.div_, Tensor.erfinv_, Tensor.fill_, Tensor.mul_),
        *(Tensor.normal_, Tensor.sub_, Tensor.trunc_, Tensor.uniform_, Tensor.zero_),
    )
)


@contextmanager
def on_meta_device() -> Iterator[None]:
    """Tensors that are made here have a shape and no memory, and no time is spent on their values.

    torch computes some of these operations on the meta device in Python (erfinv_ of a truncated normal distribution, a
    hundred times a ConvNeXt), for which it imports torch._dynamo: seconds, on a slow machine.
    """
    with torch.device("meta"), _Unset(lambda tensor: tensor.is_meta):
        yield


@contextmanager
def unset_parameters() -> Iterator[None]:
    """Parameters that are made here keep whatever their memory holds, for a state dict that fills all of them.

    Buffers are computed as ever, from arguments; one that a module computes from its initial weights would be wrong.
    """
    with _Unset(lambda tensor: isinstance(tensor, nn.Parameter)):
        yield


class _Unset(TorchFunctionMode):
    def __init__(self, of: Callable[[Tensor], bool]) -> None:
        super().__init__()
        self._of = of

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in VALUES_ALONE or getattr(func, "__module__", None) == nn.init.__name__:
            tensor: Tensor = args[0] if args else kwargs["tensor"]
            if self._of(tensor):
                return tensor
        return func(*args, **kwargs)

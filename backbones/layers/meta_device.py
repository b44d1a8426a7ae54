"""Modules without memory: for their shapes and operations alone."""

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
    with torch.device("meta"), _NoValues():
        yield


class _NoValues(TorchFunctionMode):
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
            if tensor.is_meta:
                return tensor
        return func(*args, **kwargs)

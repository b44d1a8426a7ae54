"""Memory that tensors would take up, followed as operators make and free them; for fake tensors, which take none."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# torch's CUDA allocator hands out multiples of this (c10/cuda/CUDACachingAllocator, kMinBlockSize).
BLOCK_BYTES = 512


class LiveStorages(TorchDispatchMode):
    """Bytes of all storages that operators made under this mode and that are still referred to, now and at the peak.

    A storage that several tensors share counts once.

    Args:
        known: tensors that do not count, parameters say.
        scratch: bytes that an operator takes up while it runs, from the operator and its arguments.
    """

    def __init__(
        self, known: Iterable[Tensor] = (), scratch: Callable[[Any, Sequence[Any]], int] = lambda operator, args: 0
    ) -> None:
        super().__init__()
        self._scratch = scratch
        self.bytes_now = 0
        self.peak_bytes = 0
        self.peak_operator = ""
        self._sizes: dict[int, int] = {}
        self._known = [tensor.untyped_storage() for tensor in known]  # held, so that no other one gets their address
        for storage in self._known:
            self._sizes[storage._cdata] = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run the operator and count the storages of what it returns."""
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._count(tensor)
        scratch = self._scratch(func, args)
        if self.bytes_now + scratch > self.peak_bytes:
            self.peak_bytes = self.bytes_now + scratch
            self.peak_operator = str(func)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        address = storage._cdata
        if address in self._sizes:
            return
        size = rounded(storage.nbytes())
        self._sizes[address] = size
        self.bytes_now += size
        weakref.finalize(storage, self._free, address)

    def _free(self, address: int) -> None:
        self.bytes_now -= self._sizes.pop(address)


def rounded(num_bytes: int) -> int:
    """Bytes that the CUDA allocator counts for a request."""
    return -(-num_bytes // BLOCK_BYTES) * BLOCK_BYTES

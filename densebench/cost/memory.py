"""Peak memory of an inference or a training step, in MB of 2**20 bytes (MiB), as published tables count it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from densebench.cost.latency import synchronize

BYTES_PER_MB = 2**20


def peak_memory_mb(run: Callable[[], object], device: torch.device, held: Iterable[Tensor]) -> float:
    """The most memory that tensors take up while `run` runs once in inference mode.

    On CUDA: torch's `max_memory_allocated`, which has all tensors of the process on that device; `run` runs once
    before, so that libraries have chosen their algorithms. On the CPU: the peak of the allocator above what it held
    before, by torch's profiler, plus the storages of `held` (parameters, buffers, inputs); work space that a library
    allocates past torch's allocator (oneDNN's, say) is not in it, and neither are the process's code and files.
    """
    with torch.inference_mode():
        return training_peak_memory_mb(run, device, held)


def training_peak_memory_mb(step: Callable[[], object], device: torch.device, held: Iterable[Tensor]) -> float:
    """The same of a training step, with gradients; `held` has parameters, buffers, optimizer states and inputs."""
    if device.type == "cuda":
        step()
        synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        synchronize(device)
        return torch.cuda.max_memory_allocated(device) / BYTES_PER_MB
    return (storage_bytes(held) + allocated_peak_bytes(step)) / BYTES_PER_MB


def storage_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the tensors' storages; one that several tensors share counts once."""
    storages = (tensor.untyped_storage() for tensor in tensors)
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def allocated_peak_bytes(run: Callable[[], object]) -> int:
    """Peak of the running sum of what torch's CPU allocator gives and takes back during `run`, from 0 at its start.

    What was allocated before `run` and is freed in it does not count: the profiler does not report it.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    assert profiler.profiler is not None
    events = profiler.profiler.kineto_results.events()
    changes = sorted(
        ((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"),
        key=lambda change: change[0],
    )
    total = peak = 0
    for _, size in changes:
        total += size
        peak = max(peak, total)
    return peak

"""What a measurement depends on beside the model: device, clock, number format."""

from __future__ import annotations

import platform
import statistics
from pathlib import Path

import torch

from densebench.allocator import release_freed_memory
from densebench.errors import DensebenchError


def chosen_device(name: str | None) -> torch.device:
    """The device of that name; None: cuda where there is one.

    Raises:
        DensebenchError: cuda, and there is none.
    """
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise DensebenchError(
            "--device cuda: torch finds no CUDA device here. Measure on the CPU (--device cpu), or what needs no "
            "device: --only params,flops, or --only memory --estimate."
        )
    return torch.device(name or ("cuda" if has_cuda else "cpu"))


def chosen_dtype(amp: bool, device: torch.device) -> torch.dtype:
    """Of convolutions and products: fp16 under autocast on CUDA, as the recipes train, bfloat16 on the CPU."""
    if not amp:
        return torch.float32
    return torch.float16 if device.type == "cuda" else torch.bfloat16


def device_name(device: torch.device) -> str:
    """The model of a processor as its maker names it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    names = _cpu_values("model name")
    return names[0] if names else platform.processor() or platform.machine()


def clock_mhz(device: torch.device) -> float | None:
    """The clock now: the CPU's cores' median, the GPU's multiprocessors'; None where it cannot be read."""
    if device.type == "cuda":
        try:
            return float(torch.cuda.clock_rate(device))
        except (ImportError, RuntimeError):  # needs NVIDIA's management library
            return None
    clocks = [float(value) for value in _cpu_values("cpu MHz")]
    return statistics.median(clocks) if clocks else None


def available_mb(device: torch.device) -> float | None:
    """MiB that can still be given out on a device; None where it is not known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / 2**20
    release_freed_memory()  # which this process may use again
    limits = [_kilobytes(Path("/proc/meminfo"), "MemAvailable"), _control_group_left()]
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else None


def _cpu_values(key: str) -> list[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return []
    fields = (line.partition(":") for line in lines)
    return [value.strip() for name, _, value in fields if name.strip() == key]


def _kilobytes(file: Path, key: str) -> float | None:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{key}:")]
    return float(found[0]) / 1024 if found else None


def _control_group_left() -> float | None:
    """What a container may still take, by version 2 of control groups."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit, used = (folder / name for name in ("memory.max", "memory.current"))
        return (int(limit.read_text()) - int(used.read_text())) / 2**20
    except (OSError, ValueError):  # no such files, or the limit is "max"
        return None

"""Several processes: what mmengine leaves open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed

from densebench.engine.launchers import rendezvous, this_process
from densebench.errors import DensebenchError


@contextmanager
def process_group(launcher: str) -> Iterator[str]:
    """Join the processes that torchrun or SLURM started, and leave them together; yields mmengine's launcher.

    On GPUs mmengine's Runner joins, by the variables that are set here. On the CPU it cannot: its own start-up sets a
    CUDA device whatever the backend is. Leaving waits for the process that writes the results: gloo may abort a
    process at its exit that still holds a connection, and torchrun ends all others when one fails.

    Raises:
        DensebenchError: the launcher's variables make no sense, more processes than GPUs, no meeting, or one of the
            others ended.
    """
    if launcher == "none":
        this_process(launcher)
        yield launcher
        return
    os.environ.update(rendezvous(launcher))
    if torch.cuda.is_available():
        os.environ["LOCAL_RANK"] = str(device_index(int(os.environ["LOCAL_RANK"]), torch.cuda.device_count(), launcher))
    elif not distributed.is_initialized():
        _join_on_cpu()
    try:
        yield "pytorch"
        if distributed.is_initialized():
            distributed.barrier()
            distributed.destroy_process_group()
    except BaseException as error:
        # NCCL's farewell waits for the others, who may not come; gloo's does not.
        if distributed.is_initialized() and distributed.get_backend() == "gloo":
            distributed.destroy_process_group()
        if isinstance(error, RuntimeError) and "gloo" in str(error):
            message = "Another process of this run ended before its time; its own message says why."
            raise DensebenchError(message) from error
        raise


def device_index(local_rank: int, num_devices: int, launcher: str) -> int:
    """The GPU of a process; where SLURM shows each task its own GPU alone, that is number 0 for all.

    Raises:
        DensebenchError: more processes than GPUs.
    """
    if local_rank < num_devices:
        return local_rank
    if launcher == "slurm" and num_devices == 1:
        return 0
    raise DensebenchError(
        f"Process {local_rank} of this machine has no GPU: {num_devices} are visible. Start one process a GPU; the "
        "rest of the batch is made up with --images-per-gpu."
    )


def is_main_process() -> bool:
    """Whether this process speaks and writes for all; known before any process group is."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"


def _join_on_cpu() -> None:
    try:
        distributed.init_process_group("gloo")
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        reason = str(error).splitlines()[0]
        raise DensebenchError(
            f"The {os.environ['WORLD_SIZE']} processes did not meet at {where} ({reason}). Is the first node reachable "
            "and the port free? $MASTER_ADDR and $MASTER_PORT name others."
        ) from error

"""Who this process is among those that torchrun or SLURM started, as their variables tell it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from densebench.errors import DensebenchError

STARTERS = {"pytorch": "torchrun --nproc_per_node N tools/...", "slurm": "srun python tools/..."}
VARIABLES = {
    "pytorch": {"rank": "RANK", "local_rank": "LOCAL_RANK", "world_size": "WORLD_SIZE"},
    "slurm": {"rank": "SLURM_PROCID", "local_rank": "SLURM_LOCALID", "world_size": "SLURM_NTASKS"},
}

# Below the ports that Linux hands out by itself (from 32768).
FIRST_PORT, NUM_PORTS = 20000, 10000


@dataclass(frozen=True)
class Process:
    """One process of a run; `local_rank` counts on its own machine."""

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1


def this_process(launcher: str, variables: Mapping[str, str] = os.environ) -> Process:
    """What the launcher's variables say; alone without a launcher.

    Raises:
        DensebenchError: one of them is not set, or is no number that it could be; torchrun without --launcher pytorch.
    """
    if launcher == "none":
        if "TORCHELASTIC_RUN_ID" in variables and variables.get("WORLD_SIZE", "1") != "1":
            # They would all write to the same work dir.
            raise DensebenchError(
                f"torchrun started {variables['WORLD_SIZE']} processes that know nothing of each other; "
                "add --launcher pytorch."
            )
        return Process()
    names = VARIABLES[launcher]
    numbers = {field: _number(variables, name, launcher) for field, name in names.items()}
    process = Process(**numbers)
    if process.rank >= process.world_size:
        raise DensebenchError(
            f"${names['rank']}={process.rank} of ${names['world_size']}={process.world_size}: "
            f"processes count from 0, so at most {process.world_size - 1} was expected. "
            f"Start with: {STARTERS[launcher]}"
        )
    return process


def rendezvous(launcher: str, variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables by which torch.distributed finds the other processes, as torchrun sets them.

    Under SLURM the first node of the job is the meeting place; its port comes from the job's number, so that two jobs
    on a node do not meet. $MASTER_ADDR and $MASTER_PORT, where set, win.

    Raises:
        DensebenchError: a variable is missing or makes no sense.
    """
    process = this_process(launcher, variables)
    address = variables.get("MASTER_ADDR")
    if address is None and launcher == "slurm":
        nodes = variables.get("SLURM_NODELIST") or variables.get("SLURM_JOB_NODELIST")
        address = first_node(nodes) if nodes else None
    port = variables.get("MASTER_PORT")
    if port is None and launcher == "slurm":
        port = str(FIRST_PORT + int(re.sub(r"\D", "", variables.get("SLURM_JOB_ID", "")) or 0) % NUM_PORTS)
    if address is None or port is None:
        missing = "$MASTER_ADDR or $SLURM_NODELIST" if launcher == "slurm" else "$MASTER_ADDR and $MASTER_PORT"
        raise DensebenchError(f"--launcher {launcher} expects {missing}; start with: {STARTERS[launcher]}")
    if not port.isdecimal() or not 0 < int(port) < 2**16:
        raise DensebenchError(f"$MASTER_PORT={port}: a port from 1 to 65535 was expected.")
    return {
        "RANK": str(process.rank),
        "LOCAL_RANK": str(process.local_rank),
        "WORLD_SIZE": str(process.world_size),
        "MASTER_ADDR": address,
        "MASTER_PORT": port,
    }


def first_node(nodes: str) -> str:
    """The first name of SLURM's compressed list: `gpu[003-010,012],login1` -> `gpu003`."""
    before, numbers, after = re.fullmatch(r"([^,\[]*)(?:\[([^\]]*)\]([^,\[]*))?.*", nodes).groups()  # type: ignore[union-attr]
    return before if numbers is None else before + re.split("[,-]", numbers)[0] + after


def _number(variables: Mapping[str, str], name: str, launcher: str) -> int:
    if name not in variables:
        raise DensebenchError(
            f"--launcher {launcher} expects ${name}, which is not set; start with: {STARTERS[launcher]}"
        )
    text = variables[name]
    lowest = 1 if name == VARIABLES[launcher]["world_size"] else 0
    if not text.isdecimal() or int(text) < lowest:
        raise DensebenchError(
            f"${name}={text}: a whole number from {lowest} was expected; start with: {STARTERS[launcher]}"
        )
    return int(text)

"""--resume: where a run goes on, and what must be the same for it to be one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from densebench.checkpoint import training_facts
from densebench.engine.work_dir import identity_of, meta_of, newest_checkpoint
from densebench.errors import DensebenchError
from densebench.recipe import Identity

# What a checkpoint's label in a record rests on; a run that changed one of them midway would bear a wrong label.
FIXED = ("backbone", "method", "dataset", "pretrain", "total_batch", "seed")
WAYS_OUT = "Resume with the options of the first run, or start anew in another --work-dir"


@dataclass(frozen=True)
class Start:
    """Where a resumed run goes on."""

    file: Path
    iteration: int
    seed: int | None  # of the first run, drawn where none was given: it decides on the order of the data


def find_start(work_dir: Path, identity: Identity) -> Start | None:
    """The newest checkpoint of a full run in the work dir; None where there is none yet.

    Raises:
        DensebenchError: it cannot be read, does not say where it stopped, or comes from another run.
    """
    file = newest_checkpoint(work_dir, mini=False)
    if file is None:
        return None
    meta = meta_of(file)
    if not isinstance(meta.get("iter"), int):
        raise DensebenchError(
            f"--resume: {file} does not say at which iteration it was saved, so it is no checkpoint of ours. Start "
            f"from its weights with --pretrained {file} in another --work-dir."
        )
    require_same_run(identity_of(meta), asdict(identity), file)
    return Start(file, meta["iter"], meta.get("seed"))


def require_same_run(trained: Mapping[str, Any], wanted: Mapping[str, Any], file: Path) -> None:
    """Refuse to go on as another run than the checkpoint's.

    Raises:
        DensebenchError: another backbone, method, data set, starting weights, batch or seed.
    """
    changed = [key for key in FIXED if trained.get(key, wanted[key]) != wanted[key]]
    if changed:
        shown = "; ".join(f"{key} was {trained[key]}, is {wanted[key]}" for key in changed)
        raise DensebenchError(f"--resume: {file} comes from another run ({shown}). {WAYS_OUT}.")


def require_resumable(checkpoint: dict[str, Any], filename: str) -> None:
    """Refuse to resume from weights alone.

    Raises:
        DensebenchError: the file does not say how far its training had come, or lacks the state to go on from there.
    """
    training_facts(checkpoint, filename)  # refuses a `meta` that is no dictionary
    meta = checkpoint.get("meta") or {}
    missing = [f"meta.{key}" for key in ("epoch", "iter") if not isinstance(meta.get(key), int)]
    missing += [key for key in ("message_hub", "optimizer", "param_schedulers") if key not in checkpoint]
    if missing:
        raise DensebenchError(
            f"{filename} cannot be resumed from: it lacks {', '.join(missing)}, which a training of ours writes. Start "
            "from its weights with --pretrained FILE in another --work-dir."
        )


def require_same_schedule(
    checkpoint: Mapping[str, Any], schedulers: Sequence[Mapping[str, Any]], filename: str
) -> None:
    """Refuse to resume under another schedule or batch split: the schedulers' state would end the rate too early.

    Raises:
        DensebenchError: the saved schedulers end at other iterations than the config's.
    """
    saved = [state.get("end") for state in checkpoint.get("param_schedulers", [])]
    wanted = [config.get("end", end) for config, end in zip(schedulers, saved, strict=False)]
    if saved != wanted:
        raise DensebenchError(
            f"{filename} was trained under a schedule that ends at iterations {saved}, this run's ends at {wanted}. "
            "Resume with the same --images-per-gpu, processes and schedule, or start anew in another --work-dir."
        )

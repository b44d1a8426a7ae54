"""The checkpoints of a work dir: the newest one, what it says of itself, and what stopped runs left half-written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from densebench.checkpoint import read_checkpoint
from densebench.errors import DensebenchError

PARTIAL = ".{}.partial"

# How much of the backbone the starting weights filled, as checkpoints and records name it.
MATCHED_PERCENT = "starting_weights_matched_percent"


def latest_checkpoint(work_dir: Path, mini: bool) -> Path:
    """The newest checkpoint of a work dir, a miniature's or a full run's; others' files count as either.

    Raises:
        DensebenchError: there is none.
    """
    newest = newest_checkpoint(work_dir, mini)
    if newest is not None:
        return newest
    others = [path.name for path in _checkpoints(work_dir)]
    kind = "a --mini run" if mini else "a full run"
    message = f"No checkpoint (*.pth) of {kind} in {work_dir}"
    if others:
        message += f"; those there are of {'full' if mini else '--mini'} runs: {', '.join(others[:5])}"
    seeded = [folder for folder in _with_seed(work_dir) if newest_checkpoint(folder, mini) is not None]
    if seeded:
        message += f"; runs with a seed have work dirs of their own: {', '.join(map(str, seeded))}"
    raise DensebenchError(f"{message}. Train first, or name one: tools/test.py CONFIG CHECKPOINT.")


def newest_checkpoint(work_dir: Path, mini: bool) -> Path | None:
    """The newest checkpoint of a work dir that a run of this kind may go on from; None where there is none."""
    for path in _checkpoints(work_dir):
        if identity_of(meta_of(path)).get("mini", mini) is mini:
            return path
    return None


def meta_of(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint says of itself beside its tensors, which stay on the disk; empty where it says nothing.

    Raises:
        DensebenchError: an unreadable file.
    """
    meta = read_checkpoint(checkpoint, lazily=True).get("meta")
    return meta if isinstance(meta, dict) else {}


def identity_of(meta: dict[str, Any]) -> dict[str, Any]:
    """The run that a checkpoint of ours comes from; empty for others' files."""
    identity: dict[str, Any] = meta.get("densebench", {})
    return identity


def remove_partial_files(work_dir: Path) -> None:
    """Remove what runs that were stopped while saving left."""
    for path in work_dir.glob(PARTIAL.format("*.pth")):
        path.unlink(missing_ok=True)


def _checkpoints(work_dir: Path) -> Iterator[Path]:
    """Newest first; hidden files are half-written ones."""
    paths = [path for path in work_dir.glob("*.pth") if not path.name.startswith(".")]
    yield from sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def _with_seed(work_dir: Path) -> Iterator[Path]:
    if work_dir.parent.is_dir():
        prefix = f"{work_dir.name}_seed"
        yield from sorted(path for path in work_dir.parent.iterdir() if path.name.startswith(prefix) and path.is_dir())

"""Where a result comes from: time, code, config, weights, data, seed, versions and command, as a record holds them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import subprocess
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import densebench

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("torch", "torchvision", "timm", "mmengine", "mmcv", "mmdet", "mmseg")


def collect(
    config_text: str,
    command: Sequence[str],
    *,
    checkpoint_sha256: str | None = None,
    weights_matched_percent: float | None = None,
    starting_weights_matched_percent: float | None = None,
    dataset_fingerprint: str | None = None,
    num_images: int | None = None,
    generated_data: bool | None = None,
    seed: int | None = None,
    world_size: int = 1,
) -> dict[str, Any]:
    """A record's `provenance`, to be taken at the end of the run; what is not known is None.

    Args:
        config_text: the resolved config, `recipe.config.pretty_text`; its sha256 is recorded.
        command: the program and its arguments.
        generated_data: whether the images are synthetic scenes; a --mini run may be on real ones.
        weights_matched_percent: the share of the whole model that the tested checkpoint filled.
        starting_weights_matched_percent: the share of the backbone that the training started from.
    """
    commit = git_commit()
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "git_commit": commit,
        "git_dirty": None if commit is None else bool(_git("status", "--porcelain")),
        "config_sha256": hashlib.sha256(config_text.encode()).hexdigest(),
        "checkpoint_sha256": checkpoint_sha256,
        "weights_matched_percent": weights_matched_percent,
        "starting_weights_matched_percent": starting_weights_matched_percent,
        "dataset_fingerprint": dataset_fingerprint,
        "num_images": num_images,
        "generated_data": generated_data,
        "seed": seed,
        "world_size": world_size,
        "versions": versions(),
        "command": list(command),
    }


def git_commit() -> str | None:
    """The commit of this checkout; None where densebench does not run from a git checkout of its own."""
    top = _git("rev-parse", "--show-toplevel")
    # Installed into an environment inside another repository, that repository's commit says nothing about this code.
    return _git("rev-parse", "HEAD") if top is not None and Path(top) == ROOT else None


def versions() -> dict[str, str | None]:
    """Versions of Python and of what the results depend on; None for a package that is not there.

    The OpenMMLab packages are known by their import names, whatever distribution (`onedl-mmcv`) they came from.
    """
    distributions = importlib.metadata.packages_distributions()
    installed = {
        name: importlib.metadata.version(distributions[name][0]) if name in distributions else None for name in PACKAGES
    }
    return {"python": platform.python_version(), **installed, "densebench": densebench.__version__}


def _git(*arguments: str) -> str | None:
    try:
        # --no-optional-locks: a status must not touch the index while someone commits.
        command = ["git", "--no-optional-locks", "-C", str(ROOT), *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()

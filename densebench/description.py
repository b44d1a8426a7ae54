"""A recipe's description: the config file as it states the recipe, and what such a file must and may hold."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from densebench.building import reason
from densebench.errors import DensebenchError

CONFIG_FOLDER = Path(__file__).resolve().parent.parent / "configs"

REQUIRED_PARTS = (
    "method",
    "dataset",
    "total_batch",
    "schedule",
    "val_interval",
    "model",
    "optim_wrapper",
    "num_classes",
    "crop_size",
    "train_dataloader",
    "test_dataloader",
    "test_ss",
)

_PROTOCOL = ("scale", "scales", "ratios", "flip", "mode", "crop_size", "stride")

# The dictionaries that densebench itself reads, with all that each may hold. What else a description holds are
# arguments of registered classes, which building these checks.
OWN_PARTS: dict[str, tuple[str, ...]] = {
    "schedule": ("name", "iterations", "epochs", "warmup", "poly", "steps"),
    "schedule.warmup": ("iterations", "ratio", "kind"),
    "schedule.poly": ("power", "min_lr"),
    "schedule.steps": ("at", "factor"),
    "test_ss": _PROTOCOL,
    "test_ms": _PROTOCOL,
    "pretrained": ("name", "url", "sha256"),
    "mini": ("iterations", "total_batch"),
}

OPTIONAL = ("kind",)  # of a warm-up: linear where it is not said


def find_config(name: str) -> Path:
    """A config by path, or by the bare name of a file in configs/.

    Raises:
        DensebenchError: there is none; near matches are listed.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = {file.stem: file for file in CONFIG_FOLDER.rglob("*.py") if "_base_" not in file.parts}
    if path.parent == Path() and path.stem in known:
        return known[path.stem]
    raise DensebenchError(
        f"No config '{name}': neither a file nor the name of one in {CONFIG_FOLDER}. {near_or_all(path.stem, known)}"
    )


def read_description(path: Path) -> dict[str, Any]:
    """A recipe file as plain dictionaries.

    Raises:
        DensebenchError: the file cannot be run, or is no recipe.
    """
    try:
        config = Config.fromfile(path, import_custom_modules=False)
    except RecursionError as error:
        raise DensebenchError(f"{path} cannot be read as a config: its _base_ files name each other.") from error
    except Exception as error:  # a config is a program, which may raise anything
        raise DensebenchError(f"{path} cannot be read as a config: {reason(error)}") from error
    description: dict[str, Any] = config.to_dict()
    missing = [key for key in REQUIRED_PARTS if key not in description]
    if missing:
        raise DensebenchError(
            f"{path} is no densebench recipe: it lacks {', '.join(missing)}. "
            "Start from a file in configs/, which builds on configs/_base_/."
        )
    require_recipe(description)
    return description


def require_recipe(description: Mapping[str, Any]) -> None:
    """Refuse a description whose own parts hold something unknown, lack something, or do not go together.

    Raises:
        DensebenchError: the first thing that does not fit.
    """
    for path, known in OWN_PARTS.items():
        part = _at(description, path)
        if part is None:
            continue
        if not isinstance(part, Mapping):
            raise DensebenchError(f"{path}={part}: parts were expected, as {path}.{known[0]}; {near_or_all('', known)}")
        for key in part:
            if key not in known:
                raise DensebenchError(f"{path} has no part '{key}'. {near_or_all(str(key), known)}")
    _require_schedule(description["schedule"])
    for name in ("test_ss", "test_ms"):
        _require_protocol(name, description.get(name))
    backbone = _at(description, "model.backbone")
    if not isinstance(backbone, Mapping) or "type" not in backbone:
        raise DensebenchError(
            "The recipe names no backbone: model = dict(backbone=dict(type='convnext_t')) was expected, with a "
            "registered name."
        )


def near_or_all(name: str, known: Collection[str]) -> str:
    """The near matches of a name, or everything that it could have been."""
    near = difflib.get_close_matches(name, known, n=5, cutoff=0.5)
    return f"Near matches: {', '.join(near)}." if near else f"There are: {', '.join(sorted(known))}."


def _at(description: Mapping[str, Any], path: str) -> Any:
    node: Any = description
    for key in path.split("."):
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _require_schedule(schedule: Mapping[str, Any]) -> None:
    for either, other in (("iterations", "epochs"), ("poly", "steps")):
        found = [key for key in (either, other) if schedule.get(key) is not None]
        if len(found) != 1:
            raise DensebenchError(
                f"A schedule has either {either} or {other}; this one has {' and '.join(found) or 'neither'}."
            )
    for name in ("warmup", "poly", "steps"):
        part = schedule.get(name)
        needed = [key for key in OWN_PARTS[f"schedule.{name}"] if key not in OPTIONAL]
        missing = [key for key in needed if part is not None and key not in part]
        if missing or (part is None and name == "warmup"):
            raise DensebenchError(f"schedule.{name} lacks {', '.join(missing) or 'everything'}.")


def _require_protocol(name: str, protocol: Mapping[str, Any] | None) -> None:
    if protocol is None:
        return
    mode = protocol.get("mode", "whole")
    if mode not in ("whole", "slide"):
        raise DensebenchError(f"{name}.mode={mode}: whole or slide was expected.")
    # Either one scale and ratios of it, or the scales themselves.
    sizes = ("scales",) if "scales" in protocol else ("scale", "ratios")
    needed = (*sizes, "flip", *(("crop_size", "stride") if mode == "slide" else ()))
    if missing := [key for key in needed if key not in protocol]:
        raise DensebenchError(f"{name} lacks {', '.join(missing)}, which a test of mode {mode} needs.")

"""--cfg-options: which part of a run an override concerns, and whether it fits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from densebench.errors import DensebenchError

# More hangs on these than the entry of the resolved config: set there alone, they would split a run.
OPTIONS_OF_THEIR_OWN = {
    "work_dir": "--work-dir",
    "resume": "--resume",
    "load_from": "--pretrained",
    "launcher": "--launcher",
    "randomness.seed": "--seed",
}


def split_overrides(
    description: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """--cfg-options that concern the recipe's description, and those that concern the resolved config."""
    early = {key: value for key, value in options.items() if key.split(".")[0] in description}
    return early, {key: value for key, value in options.items() if key not in early}


def overridden(description: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """The description with overrides such as `optim_wrapper.optimizer.lr=2e-4`.

    Raises:
        DensebenchError: an override that does not fit what it overrides.
    """
    if not options:
        return description
    config = Config(description)
    try:
        config.merge_from_dict(options)
    except (TypeError, KeyError, ValueError, IndexError) as error:
        raise DensebenchError(f"--cfg-options {_shown(options)} does not fit the recipe: {error}") from error
    changed: dict[str, Any] = config.to_dict()
    schedule_counts = {f"schedule.{key}": changed["schedule"].get(key, 1) for key in ("iterations", "epochs")}
    counts = {"total_batch": changed["total_batch"], "val_interval": changed["val_interval"], **schedule_counts}
    for key, value in counts.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise DensebenchError(f"--cfg-options {key}={value}: a whole number from 1 was expected.")
    return changed


def apply_late(config: Config, options: dict[str, Any], description: Mapping[str, Any], with_data: bool) -> None:
    """Overrides of the resolved config, such as `default_hooks.logger.interval=10`.

    Raises:
        DensebenchError: neither the recipe nor the resolved config has such a part, or an option of its own sets it.
    """
    for key, option in OPTIONS_OF_THEIR_OWN.items():
        if key in options:
            raise DensebenchError(f"--cfg-options {key}={options[key]}: set it with {option}, which all parts follow.")
    unknown = [key for key in options if key.split(".")[0] not in config]
    # Without data the resolved config is the model alone, and options about the rest have nothing to say.
    if unknown and with_data:
        parts = sorted({*description, *config})
        raise DensebenchError(
            f"--cfg-options names unknown parts: {', '.join(unknown)}. There are: {', '.join(parts)}."
        )
    known = {key: value for key, value in options.items() if key not in unknown}
    if known:
        config.merge_from_dict(known)


def _shown(options: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in options.items())

"""--cfg-options: which part of a run an override concerns, and whether it fits."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from densebench.building import building, require_optimizer, told
from densebench.description import OWN_PARTS, near_or_all, require_recipe
from densebench.engine.console import captured_imports
from densebench.errors import DensebenchError
from densebench.meta_device import build_on_meta

# What a resolved config holds beside the description's parts; options of a benchmark may name them, to no effect.
RESOLVED_PARTS = (
    "custom_hooks",
    "default_hooks",
    "default_scope",
    "env_cfg",
    "log_level",
    "log_processor",
    "param_scheduler",
    "randomness",
    "test_cfg",
    "test_evaluator",
    "train_cfg",
    "val_cfg",
    "val_dataloader",
    "val_evaluator",
    "visualizer",
)

PAIRS = ("crop_size", "scale", "stride", "train_scale", "train_ratios")

COUNTS = ("total_batch", "val_interval", "schedule.iterations", "schedule.epochs")

# Each decides on more than its own value.
FIXED = {
    "method": "name another config",
    "dataset": "name another config, and the data with --data-root",
    "mini": "use --mini-iters N and total_batch=N",
}

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
    """--cfg-options that concern the recipe's description, and those that concern the resolved config.

    Raises:
        DensebenchError: an override of what decides on more than its own value.
    """
    for key in options:
        if way_out := FIXED.get(key.split(".")[0]):
            raise DensebenchError(f"--cfg-options {key}: this cannot be overridden; {way_out}.")
    early = {key: value for key, value in options.items() if key.split(".")[0] in description}
    return early, {key: value for key, value in options.items() if key not in early}


def overridden(description: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """The description with overrides such as `optim_wrapper.optimizer.lr=2e-4`.

    Raises:
        DensebenchError: an override that does not fit what it overrides.
    """
    if not options:
        return description
    config = Config(copy.deepcopy(description))
    _merge(config, options, "the recipe")
    changed: dict[str, Any] = config.to_dict()
    for key, value in _leaves(options):
        if key not in COUNTS:
            _require_kind(description, key, value)
        elif not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise DensebenchError(f"--cfg-options {key}={value}: a whole number from 1 was expected.")
    try:
        require_recipe(changed)
    except DensebenchError as error:
        raise DensebenchError(f"--cfg-options {_shown(options)}: {error}") from error
    return changed


def apply_late(config: Config, options: dict[str, Any], description: Mapping[str, Any], with_data: bool) -> None:
    """Overrides of the resolved config, such as `default_hooks.logger.interval=10`.

    Raises:
        DensebenchError: neither the recipe nor the resolved config has such a part, or an option of its own sets it.
    """
    for key, option in OPTIONS_OF_THEIR_OWN.items():
        if key in options:
            raise DensebenchError(f"--cfg-options {key}={options[key]}: set it with {option}, which all parts follow.")
    # Without data the resolved config is the model alone, and options about the rest have nothing to say.
    known = {*config, *(() if with_data else RESOLVED_PARTS)}
    if unknown := [key for key in options if key.split(".")[0] not in known]:
        parts = {*description, *known}
        raise DensebenchError(
            f"--cfg-options names unknown parts: {', '.join(unknown)}. {near_or_all(unknown[0].split('.')[0], parts)}"
        )
    present = {key: value for key, value in options.items() if key.split(".")[0] in config}
    for key, value in _leaves(present):
        _require_kind(config.to_dict(), key, value)
    _merge(config, present, "the run's settings")


def require_buildable(config: Config, options: Mapping[str, Any]) -> None:
    """Build what the overrides concern, model and optimizer, without memory: arguments and names are right or told.

    Raises:
        DensebenchError: it cannot be built; the options that concern it are named.
    """
    concerned = {key: value for key, value in options.items() if key.split(".")[0] in ("model", "optim_wrapper")}
    if not concerned:
        return
    try:
        with captured_imports(), building(config.default_scope):
            model, _ = build_on_meta(config.model)
        if "optim_wrapper" in config:
            with told("The optimizer"):
                require_optimizer(config.optim_wrapper)
                build_optim_wrapper(model, copy.deepcopy(config.optim_wrapper))
    except DensebenchError as error:
        named = {key: value for key, value in concerned.items() if _names(str(error), key, value)}
        raise DensebenchError(f"--cfg-options {_shown(named or concerned)}: {error}") from error


def _merge(config: Config, options: dict[str, Any], what: str) -> None:
    try:
        config.merge_from_dict(options)
    except (TypeError, KeyError, ValueError, IndexError, AttributeError) as error:
        raise DensebenchError(f"--cfg-options {_shown(options)} does not fit {what}: {error}") from error


def _leaves(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every single override; in Python a value may be a dictionary, which the command line cannot say."""
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _require_kind(description: Mapping[str, Any], key: str, value: Any) -> None:
    """Refuse a value of another kind than the one it replaces, and a new name close to one that is there.

    Arguments of registered classes (beside a `type`) may be of several kinds, which building them checks.
    """
    *path, last = key.split(".")
    node: Any = description
    for depth, part in enumerate(path):
        if isinstance(node, list | tuple) and part.isdecimal() and int(part) < len(node):
            node = node[int(part)]
            continue
        if isinstance(node, Mapping) and part not in node:
            _require_no_typo(node, ".".join(path[:depth]), part, f"{key}={value}")
        if not isinstance(node, Mapping) or part not in node:
            return
        node = node[part]
    if not isinstance(node, Mapping):
        return
    old = node.get(last)
    expected = None
    if isinstance(old, Mapping):
        if value is not None or key in OWN_PARTS:
            expected = f"it has parts of its own, as {key}.{next(iter(old), '...')}=VALUE"
    elif "type" in node:
        return
    elif last in PAIRS:
        if not _are_numbers(value) or len(value) != 2:
            expected = f"two numbers above 0 were expected, as {key}=512,512"
    elif last not in node:
        _require_no_typo(node, ".".join(path), last, f"{key}={value}")
    elif isinstance(old, bool):
        expected = None if isinstance(value, bool) else "True or False was expected"
    elif isinstance(old, int | float):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        expected = None if is_number else "a number was expected"
    elif isinstance(old, str):
        expected = None if isinstance(value, str) else "a text was expected"
    elif isinstance(old, list | tuple):
        numbers = all(isinstance(item, int | float) for item in old)
        if not isinstance(value, list | tuple) or (numbers and not _are_numbers(value)):
            expected = f"a list was expected, as {key}={','.join(map(str, old))}"
    if expected:
        raise DensebenchError(f"--cfg-options {key}={value}: {expected}.")


def _require_no_typo(node: Mapping[str, Any], path: str, name: str, shown: str) -> None:
    """Refuse a new name close to one that is there; a far one is new, and the toolboxes judge it.

    `require_recipe` judges our own parts, and constructors the arguments beside a `type`.
    """
    near = difflib.get_close_matches(name, map(str, node), n=1, cutoff=0.8)
    if near and "type" not in node and path not in OWN_PARTS:
        raise DensebenchError(f"--cfg-options {shown}: there is no such part, but {near[0]}.")


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list | tuple) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and value > 0 for value in values
    )


def _names(text: str, key: str, value: Any) -> bool:
    return f"'{key.split('.')[-1]}'" in text or (isinstance(value, str) and value in text)


def _shown(options: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in options.items())

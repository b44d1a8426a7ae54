"""Building from a config, with what does not fit told in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.registry import OPTIMIZERS, DefaultScope

from densebench.errors import DensebenchError

# What constructors raise on arguments that they do not know or cannot use, and registries on unknown names.
BUILD_ERRORS = (
    TypeError,
    LookupError,
    ValueError,
    AttributeError,
    AssertionError,
    ImportError,
    RuntimeError,
)


@contextmanager
def building(scope: str) -> Iterator[None]:
    """Build a resolved config's model in the scope of mmseg or mmdet, and say in one line what did not fit."""
    with DefaultScope.overwrite_default_scope(scope), told("The config's model"):
        yield


@contextmanager
def told(what: str) -> Iterator[None]:
    """Build `what` from a config, and say in one line what did not fit.

    Raises:
        DensebenchError: an unknown name in a registry, or arguments that a constructor does not take.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except BUILD_ERRORS as error:
        raise DensebenchError(
            f"{what} cannot be built: {reason(error)}. Look for the name in the config and in --cfg-options."
        ) from error


def require_optimizer(optim_wrapper: Mapping[str, Any]) -> None:
    """Refuse an optimizer that there is not; mmengine says of it that None is not callable.

    Raises:
        LookupError: no optimizer has the name; near matches are listed.
    """
    name = optim_wrapper["optimizer"]["type"]
    if isinstance(name, str) and OPTIMIZERS.get(name) is None:
        near = difflib.get_close_matches(name, OPTIMIZERS.module_dict, n=5, cutoff=0.5)
        raise LookupError(f"there is no optimizer '{name}'; near matches: {', '.join(near) or 'none'}")


def reason(error: Exception) -> str:
    """An exception's first line and its class, without mmengine's advice on registries."""
    text = str(error.args[0] if error.args else "").partition(" Please check whether")[0]
    first_line = next(iter(text.strip().splitlines()), "")
    return f"{first_line.removesuffix('.')} ({type(error).__name__})".lstrip()

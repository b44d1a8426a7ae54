"""The names of the backbones: one line registers a class for Python, for configs and for the command line."""

from __future__ import annotations

import difflib
import functools
import inspect
import itertools
from collections.abc import Callable
from typing import Any, TypeVar

from mmengine.registry import MODELS
from torch import nn

TIMM_PREFIX = "timm/"

Builder = TypeVar("Builder", bound=Callable[..., nn.Module])


class UnknownBackboneError(LookupError):
    """No backbone has this name; the text lists near matches and how to see all names."""


def register(name: str, **settings: Any) -> Callable[[Builder], Builder]:
    """Register a backbone class under `name`, with the arguments that make this variant.

    The decorator may be stacked, once per variant. The name is entered in mmengine's root registry, so that
    `backbone=dict(type=name)` works in mmdet and mmseg configs alike.

    Raises:
        KeyError: the name is taken.
    """

    # Stacked decorators are called in the order in which they are written, but applied from the last to the first.
    place = next(_COUNTER)

    def add(builder: Builder) -> Builder:
        MODELS.register_module(name=name, module=functools.partial(builder, **settings))
        _PLACES[name] = place
        _NAMES.append(name)
        return builder

    return add


def build(name: str, **arguments: Any) -> nn.Module:
    """Build a backbone by its registered name, or any timm model as `timm/NAME`.

    Raises:
        UnknownBackboneError: no such name.
        TypeError: an argument that the backbone does not know.
    """
    config = backbone_config(name)
    builder = MODELS.get(config.pop("type"))
    return builder(**config, **arguments)


def backbone_config(name: str) -> dict[str, Any]:
    """The config entry, `dict(type=...)`, of a name as the command line takes it.

    Raises:
        UnknownBackboneError: no such name.
    """
    if name.startswith(TIMM_PREFIX):
        # A timm name may hold a dot (`resnet18.a1_in1k`), which a registry would read as a scope.
        return {"type": "TimmBackbone", "model_name": name.removeprefix(TIMM_PREFIX)}
    if name == "TimmBackbone":
        raise UnknownBackboneError("TimmBackbone is the class of all timm models; name one of them: 'timm/resnet18'.")
    # A class that its author registered with mmengine directly counts as well.
    if name not in _NAMES and name not in MODELS.module_dict:
        near = difflib.get_close_matches(name, _NAMES, n=5, cutoff=0.5)
        hint = f"near matches: {', '.join(near)}" if near else f"known names: {', '.join(names())}"
        raise UnknownBackboneError(
            f"Unknown backbone '{name}'; {hint}. Any timm model is 'timm/NAME'; "
            "a class of your own is registered with @backbones.register('NAME')."
        )
    return {"type": name}


def backbone_name(config: dict[str, Any]) -> str:
    """The inverse of `backbone_config`: the name under which a config's backbone is reported."""
    if config["type"] == "TimmBackbone":
        return TIMM_PREFIX + config["model_name"]
    return config["type"] if isinstance(config["type"], str) else config["type"].__name__


def names() -> list[str]:
    """All registered names by family, in the order in which they are written."""
    return sorted(_NAMES, key=_PLACES.__getitem__)


def accepted_arguments(name: str) -> set[str] | None:
    """The arguments that a registered backbone takes, None if it takes any."""
    builder = MODELS.get(backbone_config(name)["type"])
    parameters = inspect.signature(builder).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return {parameter.name for parameter in parameters}


_NAMES: list[str] = []
_PLACES: dict[str, int] = {}
_COUNTER = itertools.count()

"""What a backbone gives to the heads, read from the backbone itself."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from densebench.building import BUILD_ERRORS, reason
from densebench.errors import DensebenchError
from densebench.meta_device import build_on_meta

PROBE_SIZE = (64, 96)
STATEMENTS = ("out_channels", "out_strides", "out_indices")

# Whose classes this project's tests hold to the contract of a backbone. What a user puts beside them is not among them.
OWN_MODULES = frozenset(
    f"backbones.{module}"
    for module in (
        *("convnext", "convnext_isotropic", "mobilenet", "replknet", "resnet", "roadmap", "swin", "timm_backbone"),
    )
)
# Packages whose modules compute nothing but their parameters from random numbers.
KNOWN_PACKAGES = ("densebench", "mmcv", "mmdet", "mmengine", "mmseg", "timm", "torch", "torchvision")


def is_own(config: Mapping[str, Any]) -> bool:
    """Whether a backbone config names one of this project's backbones; their variants are partials of a class."""
    builder = MODELS.get(config["type"]) if isinstance(config["type"], str) else config["type"]
    return _module(builder) in OWN_MODULES


def has_known_parts(config: Any) -> bool:
    """Whether nothing in a model's config is a user's: no backbone, timm model, head or part of one.

    Call it when a user's modules are imported; what is not imported yet is a toolbox's.
    """
    if isinstance(config, Mapping):
        return _is_known(config) and all(map(has_known_parts, config.values()))
    return not isinstance(config, (list, tuple)) or all(map(has_known_parts, config))


def _is_known(config: Mapping[str, Any]) -> bool:
    kind = config.get("type")
    if kind == "TimmBackbone":
        from timm.models import is_model, model_entrypoint

        name = config["model_name"].partition(".")[0]
        return not is_model(name) or _module(model_entrypoint(name)).partition(".")[0] in KNOWN_PACKAGES
    if isinstance(kind, str):
        name = kind.rpartition(".")[2]
        builders = [registry.module_dict.get(name) for registry in (MODELS, *MODELS.children.values())]
    else:
        builders = [kind]
    modules = [_module(builder) for builder in builders if builder is not None]
    return all(module in OWN_MODULES or module.partition(".")[0] in KNOWN_PACKAGES for module in modules)


def _module(builder: Any) -> str:
    while isinstance(builder, functools.partial):
        builder = builder.func
    return str(getattr(builder, "__module__", ""))


def backbone_channels(config: dict[str, Any]) -> tuple[int, ...]:
    """Channels of each feature map of a backbone config; one that is none of ours is tried on an image of 64x96 pixels.

    Raises:
        DensebenchError: the backbone cannot be built so, cannot take the image, or breaks its contract.
    """
    backbone, device = _build(config)
    name = config.get("model_name", config["type"])
    if is_own(config):  # the trial takes seconds of imports
        return tuple(backbone.out_channels)  # type: ignore[arg-type]
    try:
        with torch.no_grad():
            maps = backbone.eval()(torch.zeros(1, 3, *PROBE_SIZE, device=device))
    except BUILD_ERRORS as error:
        raise DensebenchError(
            f"Backbone '{name}' cannot take an image of {PROBE_SIZE[0]}x{PROBE_SIZE[1]} pixels, so it is no use for "
            f"dense prediction, where sizes vary: {error}"
        ) from error
    return _checked_channels(name, backbone, maps)


def _build(config: dict[str, Any]) -> tuple[nn.Module, str]:
    from backbones import UnknownBackboneError
    from backbones.timm_backbone import NoPyramidError

    try:
        return build_on_meta(config)
    except BUILD_ERRORS as error:
        text = str(error) if isinstance(error, UnknownBackboneError | NoPyramidError) else reason(error)
        raise DensebenchError(
            f"Backbone '{config.get('model_name', config['type'])}' cannot be built: {text}"
        ) from error


def _checked_channels(name: str, backbone: nn.Module, maps: Any) -> tuple[int, ...]:
    for attribute in STATEMENTS:
        if not hasattr(backbone, attribute):
            raise DensebenchError(
                f"Backbone '{name}' has no attribute `{attribute}`; a backbone states out_channels, out_strides and "
                "out_indices, one entry per feature map, finest first."
            )
    if not isinstance(maps, (tuple, list)):
        raise DensebenchError(
            f"Backbone '{name}' returns a {type(maps).__name__}; a tuple of feature maps was expected."
        )
    if not all(isinstance(level, Tensor) and level.dim() == 4 for level in maps):
        found_maps = ", ".join(str(tuple(getattr(level, "shape", ()))) for level in maps)
        raise DensebenchError(
            f"Backbone '{name}' returns feature maps of the shapes {found_maps}; (N, C, H, W) was expected of each."
        )
    statements = {attribute: getattr(backbone, attribute) for attribute in STATEMENTS}
    for attribute, value in statements.items():
        if not isinstance(value, Sequence):
            raise DensebenchError(
                f"Backbone '{name}' has {attribute} = {value!r}; a tuple with one entry per feature map was expected."
            )
    counts = [len(maps), *map(len, statements.values())]
    if len(set(counts)) > 1:
        raise DensebenchError(
            f"Backbone '{name}' returns {counts[0]} feature maps; its out_channels, out_strides and out_indices have "
            f"{counts[1]}, {counts[2]} and {counts[3]} entries. One entry per feature map was expected."
        )
    found = tuple((level.shape[1], level.shape[2], level.shape[3]) for level in maps)
    stated = tuple(zip(statements["out_channels"], statements["out_strides"], strict=True))
    for level, ((channels, height, width), (stated_channels, stride)) in enumerate(zip(found, stated, strict=True)):
        fits = all(abs(size - length / stride) < 1 for size, length in zip((height, width), PROBE_SIZE, strict=True))
        if channels != stated_channels or not fits:
            raise DensebenchError(
                f"Backbone '{name}', level {level}: stated are {stated_channels} channels at stride {stride}, found "
                f"{channels} channels of {height}x{width} for an image of {PROBE_SIZE[0]}x{PROBE_SIZE[1]}."
            )
    return tuple(channels for channels, _, _ in found)

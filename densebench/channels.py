"""What a backbone gives to the heads, read from the backbone itself."""

from __future__ import annotations

import functools
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import nn

from densebench.building import BUILD_ERRORS, reason
from densebench.errors import DensebenchError
from densebench.meta_device import build_on_meta

PROBE_SIZE = (64, 96)
# Whose classes this project's tests hold to the contract of a backbone. What a user puts beside them is not among them.
OWN_MODULES = frozenset(
    f"backbones.{module}"
    for module in (
        *("convnext", "convnext_isotropic", "mobilenet", "replknet", "resnet", "roadmap", "swin", "timm_backbone"),
    )
)


def is_own(config: dict[str, Any]) -> bool:
    """Whether a backbone config names one of this project's backbones; their variants are partials of a class."""
    builder = MODELS.get(config["type"]) if isinstance(config["type"], str) else config["type"]
    while isinstance(builder, functools.partial):
        builder = builder.func
    return getattr(builder, "__module__", None) in OWN_MODULES


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
    except (RuntimeError, AssertionError, ValueError) as error:
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
    for attribute in ("out_channels", "out_strides", "out_indices"):
        if not hasattr(backbone, attribute):
            raise DensebenchError(
                f"Backbone '{name}' has no attribute `{attribute}`; a backbone states out_channels, out_strides and "
                "out_indices, one entry per feature map, finest first."
            )
    if not isinstance(maps, (tuple, list)):
        raise DensebenchError(
            f"Backbone '{name}' returns a {type(maps).__name__}; a tuple of feature maps was expected."
        )
    counts = [len(maps), *(len(getattr(backbone, name)) for name in ("out_channels", "out_strides", "out_indices"))]
    if len(set(counts)) > 1:
        raise DensebenchError(
            f"Backbone '{name}' returns {counts[0]} feature maps; its out_channels, out_strides and out_indices have "
            f"{counts[1]}, {counts[2]} and {counts[3]} entries. One entry per feature map was expected."
        )
    found = tuple((level.shape[1], level.shape[2], level.shape[3]) for level in maps)
    stated = tuple(zip(backbone.out_channels, backbone.out_strides, strict=True))  # type: ignore[arg-type]
    for level, ((channels, height, width), (stated_channels, stride)) in enumerate(zip(found, stated, strict=True)):
        fits = all(abs(size - length / stride) < 1 for size, length in zip((height, width), PROBE_SIZE, strict=True))
        if channels != stated_channels or not fits:
            raise DensebenchError(
                f"Backbone '{name}', level {level}: stated are {stated_channels} channels at stride {stride}, found "
                f"{channels} channels of {height}x{width} for an image of {PROBE_SIZE[0]}x{PROBE_SIZE[1]}."
            )
    return tuple(channels for channels, _, _ in found)

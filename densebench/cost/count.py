"""Parameters and multiply-adds, counted on the meta device: no weights are held and nothing is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from densebench.building import building
from densebench.cost.detector_parts import detector_parts
from densebench.cost.operator_counts import OperatorCounts, count_operators, summed
from densebench.errors import DensebenchError
from densebench.meta_device import build_on_meta
from densebench.tasks import task_of

DETECTOR_SHAPE = (1280, 800)
CITYSCAPES_SHAPE = (2048, 1024)
ADE20K_SHAPES = {512: (2048, 512), 640: (2560, 640)}  # by the height of the crops


def published_shape(description: Mapping[str, Any], mini: bool = False) -> tuple[int, int]:
    """Width and height at which the papers state the multiply-adds of such a recipe.

    ConvNeXt (tables 3, 4, 8), Swin and RepLKNet: 1280x800 for detectors, 2048x512 for ADE20K with crops of 512 and
    2560x640 with crops of 640, 2048x1024 for Cityscapes. Where nothing is published, and for a miniature, the
    single-scale test size.
    """
    width, height = description["test_ss"]["scale"]
    if mini:
        return width, height
    if is_detection(description["method"]):
        return DETECTOR_SHAPE
    if description["dataset"] == "cityscapes":
        return CITYSCAPES_SHAPE
    if description["dataset"] == "ade20k":
        return ADE20K_SHAPES.get(description["crop_size"][0], (width, height))
    return width, height


def is_detection(method: str) -> bool:
    """Whether a method is one of detectors."""
    return task_of(method).name == "detection"


def build_for_counting(config: Mapping[str, Any], plain: bool = True) -> nn.Module:
    """The segmentor or detector of a resolved config (`recipe.config.model`) on the meta device, in test mode.

    A head that computes the same with less (LeanUPerHead) computes as it is defined, unless `plain` is off.

    Raises:
        DensebenchError: the model cannot be built, or is neither a segmentor with a backbone and one decode head nor
            a detector with a box head.
    """
    with building("mmseg" if "decode_head" in config else "mmdet"):
        model, _ = build_on_meta(config)
    is_segmentor = isinstance(getattr(model, "decode_head", None), nn.Module)
    if not (is_segmentor or is_detector(model)) or not hasattr(model, "extract_feat"):
        raise DensebenchError(
            "Costs are counted for mmseg's EncoderDecoder with one decode head and for mmdet's detectors with one or "
            f"two stages; the config's model is a {type(model).__name__}."
        )
    for head in model.modules():
        if plain and hasattr(head, "plain"):
            setattr(head, "plain", True)  # noqa: B010 (mypy takes a module's attributes for tensors)
    return model.to("meta").eval()


def is_detector(model: nn.Module) -> bool:
    """Whether the model is a detector: one with regions of interest, or with boxes straight from its levels."""
    return hasattr(model, "roi_head") or hasattr(model, "bbox_head")


def computed_flops_g(config: Mapping[str, Any], shape: tuple[int, int]) -> float:
    """Multiply-adds (G) that a CPU computes in single precision for what `flops_by_part` counts as it is defined.

    Raises:
        DensebenchError: as `build_for_counting` and `flops_by_part`.
    """
    return sum(flops_by_part(build_for_counting(config, plain=False), shape).values())


def flops_entries(
    config: Mapping[str, Any], model: nn.Module, shape: tuple[int, int], by_part: Mapping[str, float]
) -> dict[str, Any]:
    """The record's entries on multiply-adds; `model` comes from `build_for_counting`, `by_part` from counting it."""
    total = sum(by_part.values())
    # Only a head that computes less than its definition is worth building a second time.
    has_other_way = any(hasattr(module, "plain") for module in model.modules())
    return {
        "flops_g": total,
        "flops_g_computed": computed_flops_g(config, shape) if has_other_way else total,
        "flops_input": list(shape),
        "flops_by_part": by_part,
    }


def params_m(model: nn.Module) -> float:
    """Parameters in millions, with the auxiliary head, as the ConvNeXt and Swin papers count UperNet's."""
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


def params_by_part(model: nn.Module) -> dict[str, float]:
    """Parameters in millions of the backbone, the neck and every head; they sum to `params_m`.

    The heads of a detector's regions stand apart, all stages of a cascade together.
    """
    parts: dict[str, float] = {}
    for name, child in model.named_children():
        inner = dict(child.named_children()) if name == "roi_head" else {name: child}
        parts |= {key: params_m(part) for key, part in inner.items()}
    return {name: params for name, params in parts.items() if params > 0}


@dataclass(frozen=True)
class FlopCounts:
    """Multiply-adds (G) of one test-time forward on one image, and what is not in them."""

    by_part: dict[str, float]
    outside_totals: dict[str, float]  # G by operator, which papers leave out: pooling of regions
    uncounted: dict[str, float]  # operators without a formula, and how many numbers (G) each wrote; most first


def flops_by_part(model: nn.Module, shape: tuple[int, int]) -> dict[str, float]:
    """`count_flops` without what is not counted."""
    return count_flops(model, shape).by_part


def count_flops(model: nn.Module, shape: tuple[int, int]) -> FlopCounts:
    """Multiply-adds of one test-time forward on an image of `shape` (width, height), by part of the model.

    Convolutions and matrix products count, as in the papers; normalization, activations, pooling and resizing do
    not. The auxiliary head does not run in a test. `model` comes from `build_for_counting`.

    Raises:
        DensebenchError: the model cannot take an image of this size.
    """
    width, height = shape
    counts: dict[str, OperatorCounts] = {}
    with torch.no_grad():
        features: Any = torch.empty(1, 3, height, width, device="meta")

        for name, part in forward_parts(model).items():
            try:
                features, counts[name] = count_operators(lambda: part(features))  # noqa: B023  # called at once
            except RuntimeError as error:
                raise DensebenchError(
                    f"The model's {name} cannot take an input of {width}x{height} pixels: {error}. "
                    "Choose another one: --shape W H."
                ) from error
    return FlopCounts(
        by_part={name: part.flops_g for name, part in counts.items()},
        outside_totals=summed([part.outside_totals_g for part in counts.values()]),
        uncounted=summed([part.uncounted_g for part in counts.values()]),
    )


def forward_parts(model: nn.Module) -> dict[str, Callable[[Any], Any]]:
    """The parts of a model that run in a test, in their order; each takes what the one before returns.

    Those of a segmentor together are `model(inputs, mode="tensor")`: (N, 3, H, W) -> feature maps ->
    (N, num_classes, H / 4, W / 4) with UPerHead.
    """
    if is_detector(model):
        return detector_parts(model)
    neck = getattr(model, "neck", None)
    return {"backbone": model.backbone} | ({} if neck is None else {"neck": neck}) | {"decode_head": model.decode_head}

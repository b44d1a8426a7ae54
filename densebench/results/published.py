"""Published results of the field, read from the package's table `published_results.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

FIGURES = (
    "box_ap",
    "box_ap50",
    "box_ap75",
    "mask_ap",
    "mask_ap50",
    "mask_ap75",
    "miou_ss",
    "miou_ms",
    "params_m",
    "flops_g",
    "fps",
    "train_mem_gb",
)


@dataclass(frozen=True)
class PublishedResult:
    """One row of a published table, under our names; `None` is what the source does not state."""

    family: str  # as published: "ConvNeXt"
    variant: str  # as published: "T"
    backbone: str  # our name: "convnext_t"
    pretrain: str
    method: str
    dataset: str
    schedule: str | None
    crop_or_scale: str | None
    figures: Mapping[str, float]  # by the names in FIGURES; what is absent is unknown; AP and mIoU in percent
    printed: Mapping[str, str]  # the same figures with the digits of the source
    flops_input: tuple[int, int] | None  # width, height
    fps_hardware: str | None
    source: str
    notes: str | None


def published_results() -> list[PublishedResult]:
    """Every row of the table, in its order."""
    text = resources.files("densebench.results").joinpath("published_results.csv").read_text(encoding="utf-8")
    return [_result(row) for row in csv.DictReader(io.StringIO(text, newline=""))]


def backbone_name(family: str, variant: str) -> str:
    """Our name of a published backbone: ("ConvNeXt", "T") -> "convnext_t".

    A backbone that we do not have keeps its published name in lower case: ("InternImage", "T") -> "internimage_t".
    """
    name = family.lower()
    variant = variant.lower()
    if family == "ConvNeXtV2":
        size = {
            "a": "atto",
            "f": "femto",
            "p": "pico",
            "n": "nano",
            "t": "tiny",
            "b": "base",
            "l": "large",
            "h": "huge",
        }
        return f"{name}_{size[variant]}"
    if family in ("ResNet", "ResNeXt"):
        return name + variant.replace("-", "_")
    if (family, variant) == ("RepLKNet", "31"):  # the last step of the kernel ladder is RepLKNet-31B itself
        variant = "31b"
    if family == "MobileNetV2":
        if variant.startswith("laststage-"):  # all of that table are trained with the parallel 3x3 kernel
            variant += "-reparam3"
        variant = variant.replace("laststage-", "last_").replace("-reparam3", "_rep")
    return f"{name}_{variant}"


def pretrain_name(published: str) -> str:
    """Our name of a pretraining: ImageNet-1K goes without saying behind a method, "fcmae-in1k" -> "fcmae"."""
    return published.removesuffix("-in1k").replace("-", "_")


def _result(row: Mapping[str, str]) -> PublishedResult:
    printed = {key: row[key] for key in FIGURES if row[key]}
    width_by_height = row["flops_input"].split("x") if row["flops_input"] else None
    return PublishedResult(
        family=row["backbone"],
        variant=row["variant"],
        backbone=backbone_name(row["backbone"], row["variant"]),
        pretrain=pretrain_name(row["pretrain"]),
        method=row["method"],
        dataset=row["dataset"],
        schedule=row["schedule"] or None,
        crop_or_scale=row["crop_or_scale"] or None,
        figures={key: float(text) for key, text in printed.items()},
        printed=printed,
        flops_input=(int(width_by_height[0]), int(width_by_height[1])) if width_by_height else None,
        fps_hardware=row["fps_hardware"] or None,
        source=row["source"],
        notes=row["notes"] or None,
    )

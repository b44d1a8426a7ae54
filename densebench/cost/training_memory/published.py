"""Published memory of training, and the recipes of ours that should take as much."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from densebench.cost.training_memory.estimate import Correction, MemoryEstimate, TrainingStep, estimate
from densebench.recipe import RunOptions, resolve
from densebench.results.published import PublishedResult, published_results

# The largest batch of mmdet's recipes: 1333x800, padded to multiples of 32; with crops, whose sides differ by up to
# 600 / 384, upright images (at most 800x1250) meet wide ones, and both are padded to the larger side.
WIDE = (1344, 800)
WIDE_AND_UPRIGHT = (1344, 1280)
# Models of ours that stand for published ones of another name.
STANDS_FOR = {"mobilenetv2_d8": "mobilenetv2_k3", "resnext101_32x8d": "resnext101_32x4d"}


@dataclass(frozen=True)
class PublishedStep:
    """A published row with `train_mem_gb`, as a training step of ours."""

    row: PublishedResult
    config: str
    backbone: str
    step: TrainingStep
    cfg_options: dict[str, Any] = field(default_factory=dict)

    @property
    def published_mb(self) -> float:
        """The toolboxes log what torch's CUDA allocator has given out, in MiB, and print it divided by 1024."""
        return self.row.figures["train_mem_gb"] * 1024

    @property
    def is_detection(self) -> bool:
        """Whether the step is a detector's."""
        return self.row.dataset == "coco"

    def predict(self) -> MemoryEstimate:
        """What we say that it takes; some seconds."""
        recipe = resolve(
            RunOptions(self.config, backbone=self.backbone, pretrained="none", cfg_options=dict(self.cfg_options)),
            with_data=False,
        )
        optimizer = recipe.description["optim_wrapper"]["optimizer"]["type"]
        return estimate(recipe.config.model, recipe.config.default_scope, optimizer, self.step)


def published_steps() -> tuple[list[PublishedStep], list[tuple[PublishedResult, str]]]:
    """All rows that we can build, in the table's order, and those that we cannot, with the reason."""
    steps, left_out = [], []
    for row in published_results():
        if "train_mem_gb" not in row.figures:
            continue
        reason = why_not(row)
        if reason is None:
            steps.append(_step(row))
        else:
            left_out.append((row, reason))
    return steps, left_out


def why_not(row: PublishedResult) -> str | None:
    """Why a row cannot be built from our recipes; None where it can."""
    notes = row.notes or ""
    if row.backbone == "resnet18":
        return "ResNet-18 is not among our backbones"
    if "deformable" in notes:
        return "deformable convolutions in the backbone"
    return None


def _step(row: PublishedResult) -> PublishedStep:
    notes = row.notes or ""
    is_detector = row.dataset == "coco"
    options: dict[str, Any] = {}
    if is_detector:
        size = WIDE_AND_UPRIGHT if row.crop_or_scale == "480-800x1333" else WIDE
        images = 2
    else:
        height, width = (int(side) for side in (row.crop_or_scale or "").split("x"))
        size = (width, height)
        per_gpu = re.search(r"_4xb(\d+)-", notes)  # "4xb2": four GPUs with two images each
        images = int(per_gpu[1]) if per_gpu else 2
        options["num_classes"] = {"ade20k": 150, "cityscapes": 19}[row.dataset]
    if row.backbone.startswith("resne"):
        if "caffe" in notes:
            options |= {"model.backbone.stride_in_1x1": True, "model.backbone.norm_frozen": True}
        if not is_detector:
            options["model.backbone.deep_stem"] = "V1c stem" in notes
        if "output stride" in notes:
            options["model.backbone.output_stride"] = 16 if "output stride 16" in notes else 8
    if row.backbone == "resnext101_32x8d":
        options["model.backbone.group_width"] = 8
    if "window 12" in notes:
        options["model.backbone.window_size"] = 12
    step = TrainingStep(
        images=images,
        size=size,
        # The authors of ConvNeXt and Swin train detectors in mixed precision throughout.
        amp="mixed precision" in notes or row.source.startswith("ConvNeXt paper"),
        distributed=True,
        keeps_gradients=True,
        fused_attention=False,
    )
    backbone = STANDS_FOR.get(row.backbone, row.backbone)
    return PublishedStep(row, _config(row), backbone, step, options)


def _config(row: PublishedResult) -> str:
    """The recipe of ours whose method and heads are the row's; its backbone and schedule do not matter."""
    family = row.family.lower()
    if row.method == "fcos":
        return "fcos_resnet50_coco_1x" if "caffe" in (row.notes or "") else "fcos_resnext101_64x4d_coco"
    if row.method == "deeplabv3plus":
        return "deeplabv3plus_mobilenetv2_k3_cityscapes"
    if row.method == "upernet":
        return {"swin": "upernet_swin_t_ade20k", "convnext": "upernet_convnext_t_ade20k"}.get(
            family, "upernet_resnet50_ade20k"
        )
    return {"swin": f"{row.method}_swin_t_coco", "convnext": f"{row.method}_convnext_t_coco"}.get(
        family, f"{row.method}_resnet50_coco_1x"
    )


def fit(steps: Sequence[PublishedStep], estimates: Sequence[MemoryEstimate]) -> Correction:
    """The correction whose median error over published rows is 0, for detectors in float32 and then for autocast."""
    missing = [
        (step, step.published_mb - (found.peak_mb - found.correction_mb), found.activations_mb)
        for step, found in zip(steps, estimates, strict=True)
    ]
    detection = statistics.median(gap for step, gap, _ in missing if step.is_detection and not step.step.amp)
    amp_share = statistics.median(
        (gap - (detection if step.is_detection else 0.0)) / activations
        for step, gap, activations in missing
        if step.step.amp
    )
    return Correction(detection, amp_share)


def corrected_mb(step: PublishedStep, found: MemoryEstimate, correction: Correction) -> float:
    """An estimate with another correction than its own."""
    tensors = found.peak_mb - found.correction_mb
    return tensors + correction.mb(found.activations_mb, step.is_detection, step.step.amp)

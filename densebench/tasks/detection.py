"""Object detection and instance segmentation under mmdet."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from densebench.data import detection_pipelines
from densebench.data.coco import annotation_file
from densebench.data.dataset import Dataset
from densebench.miniature import MINI_CROP, scaled, scaled_protocol
from densebench.tasks.interface import Task


def fill_model(
    description: dict[str, Any], channels: tuple[int, ...], num_classes: int | None, test_protocol: dict[str, Any]
) -> dict[str, Any]:
    """The model with the neck's input channels and the class count of every head in place."""
    model: dict[str, Any] = copy.deepcopy(description["model"])
    model["neck"]["in_channels"] = list(channels)
    for head in (model["roi_head"]["bbox_head"], model["roi_head"].get("mask_head")):
        if head is not None:
            head["num_classes"] = num_classes
    return model


def evaluator(description: dict[str, Any], dataset: Dataset) -> dict[str, Any]:
    """COCO's AP of boxes and masks."""
    return {"type": "ExactCoco", "ann_file": str(annotation_file(dataset.root, "val"))}


def shrink_sizes(description: dict[str, Any]) -> dict[str, Any]:
    """Short sides of 128 pixels in tests at one scale; all other sizes shrink alike."""
    factor = MINI_CROP / min(description["test_ss"]["scale"])
    protocols: dict[str, Any] = {
        kind: scaled_protocol(description[kind], factor) for kind in ("test_ss", "test_ms") if kind in description
    }
    sizes = {
        key: tuple(scaled(description[key], factor)) for key in ("train_short_sides", "crop_short_sides", "crop_size")
    }
    return {
        **sizes,
        **protocols,
        "train_long_side": round(description["train_long_side"] * factor),
    }


def result_line(metrics: Mapping[str, float]) -> str:
    """The metrics of a test in one line: AP, AP50 and AP75 of boxes and of masks."""
    kinds = [kind for kind in ("bbox", "segm") if f"{kind}_AP" in metrics]
    return "; ".join(
        f"{kind} " + ", ".join(f"{name} {metrics[f'{kind}_{name}']:.2f}" for name in ("AP", "AP50", "AP75"))
        for kind in kinds
    )


DETECTION = Task(
    name="detection",
    methods=("mask_rcnn",),
    scope="mmdet",
    registration="densebench.registration_detection",
    metrics=tuple(
        f"{kind}_{name}" for kind in ("bbox", "segm") for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")
    ),
    visualizer="DetLocalVisualizer",
    fill_model=fill_model,
    train_pipeline=lambda description, num_classes: detection_pipelines.train_pipeline(description),
    test_pipeline=lambda protocol, num_classes: detection_pipelines.test_pipeline(protocol),
    evaluator=evaluator,
    multi_scale_test=lambda protocol: {"type": "TwoPassMultiScaleDetection"} if protocol == "test-ms" else None,
    shrink_sizes=shrink_sizes,
    result_line=result_line,
)

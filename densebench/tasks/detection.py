"""Object detection and instance segmentation under mmdet."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from densebench import methods
from densebench.data.coco import annotation_file
from densebench.data.dataset import Dataset, needs_masks
from densebench.data.detection_pipelines import padding_to, test_pipeline, train_pipeline
from densebench.miniature import MINI_CROP, scaled, scaled_protocol
from densebench.tasks.interface import Task

# Lengths in pixels, of which a recipe has those of its own augmentation.
TRAINING_SIZES = ("train_short_sides", "train_short_range", "crop_short_sides", "crop_size", "jitter_size")


def fill_model(
    description: dict[str, Any], channels: tuple[int, ...], num_classes: int | None, test_protocol: dict[str, Any]
) -> dict[str, Any]:
    """The model with the neck's input channels, the class count of every head and the padding of jitter in place."""
    model: dict[str, Any] = copy.deepcopy(description["model"])
    model["neck"]["in_channels"] = list(channels)
    for head in heads_with_classes(model):
        head["num_classes"] = num_classes
    if description.get("jitter_size"):
        preprocessor = model["data_preprocessor"]
        padding = padding_to(
            description["jitter_size"], preprocessor.get("pad_size_divisor", 1), needs_masks(description)
        )
        preprocessor["batch_augments"] = [padding]
    return model


def heads_with_classes(model: dict[str, Any]) -> list[dict[str, Any]]:
    """The heads of a detector's config that tell classes apart: all stages of a cascade, or a one-stage head."""
    parts = model.get("roi_head", model)
    heads = (parts["bbox_head"], parts.get("mask_head"))
    return [
        stage for head in heads if head is not None for stage in (head if isinstance(head, list | tuple) else [head])
    ]


def evaluator(description: dict[str, Any], dataset: Dataset) -> dict[str, Any]:
    """COCO's AP of boxes, and of masks where there are."""
    return {"type": "ExactCoco", "ann_file": str(annotation_file(dataset.root, "val"))}


# Of a miniature's image in tests; a recipe's 1,000 on 128 pixels take minutes and find nothing more.
MINI_PROPOSALS = 100


def shrink_sizes(description: dict[str, Any]) -> dict[str, Any]:
    """Short sides of 128 pixels in tests at one scale; all other sizes, and the proposals of a test, shrink alike."""
    factor = MINI_CROP / min(description["test_ss"]["scale"])
    protocols: dict[str, Any] = {
        kind: scaled_protocol(description[kind], factor) for kind in ("test_ss", "test_ms") if kind in description
    }
    sizes: dict[str, Any] = {
        key: tuple(scaled(description[key], factor)) for key in TRAINING_SIZES if description.get(key)
    }
    if description.get("train_long_side"):
        sizes["train_long_side"] = round(description["train_long_side"] * factor)
    return {**sizes, **protocols, "model": _with_fewer_proposals(description["model"])}


def _with_fewer_proposals(model: dict[str, Any]) -> dict[str, Any]:
    tests = model.get("test_cfg") or {}
    if "rpn" not in tests:  # a one-stage detector
        return model
    few = {key: min(tests["rpn"][key], MINI_PROPOSALS) for key in ("nms_pre", "max_per_img")}
    return {**model, "test_cfg": {**tests, "rpn": {**tests["rpn"], **few}}}


def prediction_files(out_dir: Path | None, show_dir: Path | None, layout: str) -> Hook:
    """COCO's format of results, and pictures with boxes and masks."""
    from densebench.evaluation.detection_files import DetectionFilesHook

    return DetectionFilesHook(out_dir, show_dir)


def train_size(description: Mapping[str, Any]) -> str:
    """Short sides by the long side: "480-800x1333", "640/800x1333" of two; "1024x1024 lsj" of large-scale jitter."""
    if description.get("jitter_size"):
        return "x".join(map(str, description["jitter_size"])) + " lsj"
    sides = description.get("train_short_range") or description["train_short_sides"]
    between = "/" if description.get("train_short_range") is None and len(sides) == 2 else "-"
    return between.join(map(str, dict.fromkeys((min(sides), max(sides))))) + f"x{description['train_long_side']}"


def result_line(metrics: Mapping[str, float]) -> str:
    """The metrics of a test in one line: AP, AP50 and AP75 of boxes and of masks."""
    kinds = [kind for kind in ("bbox", "segm") if f"{kind}_AP" in metrics]
    return "; ".join(
        f"{kind} " + ", ".join(f"{name} {metrics[f'{kind}_{name}']:.2f}" for name in ("AP", "AP50", "AP75"))
        for kind in kinds
    )


DETECTION = Task(
    name="detection",
    methods=tuple(methods.DETECTION),
    scope="mmdet",
    registration="densebench.registration_detection",
    metrics=tuple(
        f"{kind}_{name}" for kind in ("bbox", "segm") for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")
    ),
    visualizer="DetLocalVisualizer",
    hooks=(),
    fill_model=fill_model,
    train_pipeline=lambda description, num_classes: train_pipeline(description, needs_masks(description)),
    test_pipeline=lambda protocol, num_classes: test_pipeline(protocol),
    evaluator=evaluator,
    multi_scale_test=lambda protocol: {"type": "TwoPassMultiScaleDetection"} if protocol == "test-ms" else None,
    shrink_sizes=shrink_sizes,
    prediction_files=prediction_files,
    train_size=train_size,
    result_line=result_line,
)

"""Semantic segmentation under mmseg."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from densebench import methods
from densebench.data import pipelines
from densebench.data.dataset import Dataset
from densebench.miniature import MINI_CROP, scaled, scaled_protocol
from densebench.tasks.interface import Task


def fill_model(
    description: dict[str, Any], channels: tuple[int, ...], num_classes: int | None, test_protocol: dict[str, Any]
) -> dict[str, Any]:
    """The model with input channels, class count, crop size and test mode in place."""
    model: dict[str, Any] = copy.deepcopy(description["model"])
    for head in (model["decode_head"], model.get("auxiliary_head")):
        if head is None:
            continue
        indices = head["in_index"]
        head["in_channels"] = (
            [channels[index] for index in indices] if isinstance(indices, (list, tuple)) else channels[indices]
        )
        if "c1_channels" in head:  # DeepLabV3+: the decoder's second input is the backbone's first map
            head["c1_in_channels"] = channels[0]
        head["num_classes"] = num_classes
    model["data_preprocessor"]["size"] = tuple(description["crop_size"])
    model["test_cfg"] = {key: test_protocol[key] for key in ("mode", "crop_size", "stride") if key in test_protocol}
    return model


def evaluator(description: dict[str, Any], dataset: Dataset) -> dict[str, Any]:
    """Mean IoU from exact counts."""
    return {"type": "ExactIoU", "num_classes": dataset.num_classes}


def shrink_sizes(description: dict[str, Any]) -> dict[str, Any]:
    """Crops of 128 pixels; training and test scales shrink alike."""
    factor = MINI_CROP / description["crop_size"][0]
    return {
        "crop_size": scaled(description["crop_size"], factor),
        "train_scale": scaled(description["train_scale"], factor),
        **{kind: scaled_protocol(description[kind], factor) for kind in ("test_ss", "test_ms") if kind in description},
    }


def prediction_files(out_dir: Path | None, show_dir: Path | None, layout: str) -> Hook:
    """Label pictures in the data set's encoding, and overlays."""
    from densebench.evaluation.prediction_files import PredictionFilesHook

    return PredictionFilesHook(out_dir, show_dir, layout)


def train_size(description: Mapping[str, Any]) -> str:
    """The crops' height and width: "512x512"."""
    return "x".join(map(str, description["crop_size"]))


def result_line(metrics: Mapping[str, float]) -> str:
    """The metrics of a test in one line."""
    shown = ", ".join(f"{name} {metrics[name]:.2f}" for name in SEGMENTATION.metrics)
    return f"{shown}  (always the most frequent class: mIoU {metrics['majority_class_mIoU']:.2f})"


def _labels(num_classes: int) -> dict[str, Any]:
    return {"type": "LoadCheckedLabels", "num_classes": num_classes}


SEGMENTATION = Task(
    name="segmentation",
    methods=tuple(methods.SEGMENTATION),
    scope="mmseg",
    registration="densebench.registration",
    metrics=("mIoU", "mAcc", "aAcc"),
    visualizer="SegLocalVisualizer",
    hooks=({"type": "LoggedAccuracyHook"},),
    fill_model=fill_model,
    train_pipeline=lambda description, num_classes: pipelines.train_pipeline(description, _labels(num_classes)),
    test_pipeline=lambda protocol, num_classes: pipelines.test_pipeline(protocol, _labels(num_classes)),
    evaluator=evaluator,
    multi_scale_test=lambda protocol: {"type": "StreamingMultiScaleTest"},
    shrink_sizes=shrink_sizes,
    prediction_files=prediction_files,
    train_size=train_size,
    result_line=result_line,
)

"""What a task tells the rest of densebench."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from densebench.data.dataset import Dataset

Description = dict[str, Any]
Settings = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """One task: how a recipe's description becomes the parts of a runnable config, and how its results are told."""

    name: str
    methods: tuple[str, ...]
    scope: str  # of the registry: mmseg or mmdet
    registration: str  # importing this module registers all that the config names
    metrics: tuple[str, ...]  # the record's entries, in percent
    visualizer: str
    hooks: tuple[Settings, ...]  # of a training, beside those of all tasks

    # description, channels of the backbone's levels, number of classes, test protocol -> the model's config
    fill_model: Callable[[Description, tuple[int, ...], int | None, Settings], Settings]
    train_pipeline: Callable[[Description, int], list[Settings]]  # description, number of classes
    test_pipeline: Callable[[Settings, int], list[Settings]]  # test protocol, number of classes
    evaluator: Callable[[Description, Dataset], Settings]
    # protocol ("test-ss", "test-ms") -> the wrapper that merges an image's views, or None
    multi_scale_test: Callable[[str], Settings | None]
    # description -> the entries of it that are sizes, as a miniature has them
    shrink_sizes: Callable[[Description], Description]
    # folders of --out and --show-dir (None: not asked for), layout of the data set -> the hook that writes them
    prediction_files: Callable[[Path | None, Path | None, str], Hook]
    train_size: Callable[[Description], str]  # the size of images in training, as published tables have it
    result_line: Callable[[Mapping[str, float]], str]  # metrics -> what the console says

    def register(self) -> None:
        """Register all that this task's configs name."""
        importlib.import_module(self.registration)

"""Looking through a whole data set before a run: every image, label and annotation, by the rules that runs follow."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmseg.datasets import ADE20KDataset, CityscapesDataset
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from densebench.data import cityscapes, coco
from densebench.data.annotation_check import (
    Finding,
    find_problems,
    missing_categories,
    missing_images,
    require_same_categories,
)
from densebench.data.check import require_split
from densebench.data.classes import read_classes
from densebench.data.dataset import layout_of, needs_masks, unlabelled_values
from densebench.data.layouts import OFFICIAL_SIZES
from densebench.data.loading import TRAINING_IGNORE_INDEX, LoadCheckedImage, LoadCheckedLabels
from densebench.data.report import ClassCount, SplitReport, absent_classes
from densebench.errors import DensebenchError, original_text
from densebench.recipe import CONFIG_FOLDER, find_config, read_description

_SPLITS = ("train", "val")


@dataclass(frozen=True)
class Subject:
    """What is looked at."""

    layout: str
    root: Path
    with_masks: bool


@dataclass(frozen=True)
class Inspection:
    """What was found in the splits, and in both together."""

    subject: Subject
    splits: tuple[SplitReport, ...]
    findings: tuple[Finding, ...]

    @property
    def is_refused(self) -> bool:
        """Whether a run would be refused."""
        return any(split.is_refused for split in self.splits) or any(found.is_refused for found in self.findings)


def subject_of(name: str, data_root: str | None) -> Subject:
    """The data of a recipe (a config, or the bare name of one) or of a data set by its layout's name.

    Raises:
        DensebenchError: an unknown name, or no data root given where there is no default.
    """
    base = CONFIG_FOLDER / "_base_" / "datasets" / f"{name}.py"
    # A data set by itself is checked for the most that a method may ask.
    description: Mapping[str, Any] = (
        Config.fromfile(base).to_dict() if base.is_file() else read_description(find_config(name))
    )
    root = data_root or description["data_root"]
    if root is None:
        raise DensebenchError(f"one's own data need --data-root D to be checked; {name} has no place of its own")
    return Subject(layout_of(description), Path(root), needs_masks(description) if "model" in description else True)


def inspect(subject: Subject, screen: Console) -> Inspection:
    """Read every file of both splits; a problem ends nothing but what depends on it."""
    findings: list[Finding] = []
    is_coco = subject.layout in (coco.LAYOUT, coco.FOLDER_LAYOUT)
    try:
        if subject.layout == "cityscapes":
            cityscapes.write_missing_train_ids(subject.root)
        elif subject.layout == coco.FOLDER_LAYOUT:
            train, val = (coco.read_annotations(coco.annotation_file(subject.root, split)) for split in _SPLITS)
            require_same_categories(train, val, coco.annotation_file(subject.root, "val"))
    except DensebenchError as error:
        findings.append(_finding(error))
    inspect_split = _objects if is_coco else _pixels
    splits = tuple(inspect_split(subject, split, screen) for split in _SPLITS)
    return Inspection(subject, splits, (*findings, *absent_classes(splits)))


# Segmentation -------------------------------------------------------------------------------------------------


def _pixels(subject: Subject, split: str, screen: Console) -> SplitReport:
    try:
        names = _class_names(subject)
        files = require_split(subject.layout, subject.root, split)
    except DensebenchError as error:
        return _report(subject, split, 0, "pixels", (), [_finding(error)])
    pairs = list(zip(files.images, files.labels, strict=True))
    counts, broken = [], []
    ignored = unlabelled_values(subject.layout, subject.root)
    for found in _each(pairs, lambda pair: _label_counts(subject.layout, len(names), ignored, *pair), split, screen):
        counts.append(found) if isinstance(found, np.ndarray) else broken.append(found)
    table = np.array(counts, np.int64).reshape(len(counts), len(names))  # (images, classes)
    findings = [Finding("files that no run can load", tuple(broken), True)] if broken else []
    if not table.any():
        findings.append(Finding("no labelled pixel: nothing can be learnt or measured", (), True))
    classes = tuple(
        ClassCount(name, int(amount), int(images))
        for name, amount, images in zip(names, table.sum(axis=0), (table > 0).sum(axis=0), strict=True)
    )
    return _report(subject, split, len(pairs), "pixels", classes, findings)


def _class_names(subject: Subject) -> tuple[str, ...]:
    if subject.layout == "folder":
        return read_classes(subject.root)[0]
    data_set = ADE20KDataset if subject.layout == "ade20k" else CityscapesDataset
    return tuple(data_set.METAINFO["classes"])


def _label_counts(
    layout: str, num_classes: int, ignored: set[int], image: Path, label: Path
) -> NDArray[np.int64] | str:
    """(num_classes,) pixels of an image's label; the reason where either cannot be loaded."""
    has_zero_label = layout == "ade20k"
    results = {
        "img_path": str(image),
        "seg_map_path": str(label),
        "reduce_zero_label": has_zero_label,
        "label_map": None if has_zero_label else dict.fromkeys(ignored, TRAINING_IGNORE_INDEX),
        "seg_fields": [],
    }
    try:
        results = LoadCheckedImage().transform(results)
        loaded = LoadCheckedLabels(num_classes).transform(results)
    except DensebenchError as error:
        return original_text(error)
    return np.bincount(loaded["gt_seg_map"].ravel(), minlength=256)[:num_classes]


# Detection ----------------------------------------------------------------------------------------------------


def _objects(subject: Subject, split: str, screen: Console) -> SplitReport:
    try:
        coco.require_files(subject.root, split, subject.layout)
        found = coco.places(subject.root, split)
        content = coco.read_annotations(found.annotations)
    except DensebenchError as error:
        return _report(subject, split, 0, "objects", (), [_finding(error)])
    findings = [
        *find_problems(content, is_tested=split == "val", with_masks=subject.with_masks),
        *missing_images(content, found.images),
        *(missing_categories(content, coco.CATEGORIES.values()) if subject.layout == coco.LAYOUT else ()),
    ]
    listed = [image for image in content["images"] if (found.images / str(image["file_name"])).is_file()]
    broken = [text for text in _each(listed, lambda image: _unreadable(found.images, image), split, screen) if text]
    if broken:
        findings.append(Finding("images that no run can load", tuple(broken), True))
    return _report(subject, split, len(content["images"]), "objects", _object_counts(content), findings)


def _unreadable(folder: Path, image: Mapping[str, Any]) -> str | None:
    results = {
        "img_path": str(folder / str(image["file_name"])),
        "height": image["height"],
        "width": image["width"],
    }
    try:
        LoadCheckedImage().transform(results)
    except DensebenchError as error:
        return original_text(error)
    return None


def _object_counts(content: Mapping[str, Any]) -> tuple[ClassCount, ...]:
    objects: dict[Any, int] = {}
    images: dict[Any, set[Any]] = {}
    for entry in content["annotations"]:
        category = str(entry["category_id"])
        objects[category] = objects.get(category, 0) + 1
        images.setdefault(category, set()).add(str(entry["image_id"]))
    return tuple(
        ClassCount(str(entry["name"]), objects.get(str(entry["id"]), 0), len(images.get(str(entry["id"]), ())))
        for entry in content["categories"]
    )


# Both ---------------------------------------------------------------------------------------------------------


def _each(items: list[Any], work: Callable[[Any], Any], split: str, screen: Console) -> Iterable[Any]:
    """The results in the order of the items; decoding leaves Python, so that threads use all cores."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        yield from track(
            threads.map(work, items),
            f"reading {split}",
            total=len(items),
            console=screen,
            transient=True,
            disable=not screen.is_terminal,
        )


def _report(
    subject: Subject, split: str, num_images: int, unit: str, classes: tuple[ClassCount, ...], findings: list[Finding]
) -> SplitReport:
    expected = OFFICIAL_SIZES.get(subject.layout, {}).get(split)
    return SplitReport(split, num_images, expected, unit, classes, tuple(findings))


def _finding(error: DensebenchError) -> Finding:
    return Finding(str(error), (), True)

"""COCO 2017 and one's own data in its format: folders, annotation files, and COCO's 80 categories."""

from __future__ import annotations

import json
import os
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from densebench.errors import DensebenchError

LAYOUT = "coco"
FOLDER_LAYOUT = "coco_folder"  # one's own images and classes

_TREES = {
    LAYOUT: """\
train2017/000000000009.jpg ...             118287 images
val2017/000000000139.jpg ...               5000 images
annotations/instances_train2017.json
annotations/instances_val2017.json""",
    FOLDER_LAYOUT: """\
train/NAME.jpg ...          .jpg, .jpeg or .png; also in sub-folders, which the file names of the JSON then have too
val/NAME.jpg ...
annotations/train.json      COCO's format of instances: images, annotations, categories
annotations/val.json
or COCO's own names: train2017/, val2017/, annotations/instances_{train,val}2017.json""",
}
_HOW_TO_GET = {
    LAYOUT: """\
download train2017.zip (18 GB), val2017.zip (1 GB) and annotations_trainval2017.zip (241 MB) from
http://images.cocodataset.org, folders zips and annotations, into one folder, and unpack them with
tools/prepare_data.py coco FOLDER""",
    FOLDER_LAYOUT: "put your own images and annotations there; annotation tools export COCO's format",
}

_NAMES = """\
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign,
parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, handbag,
tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard,
tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot,
hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, mouse, remote,
keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear,
hair drier, toothbrush"""
# Ids of the 91 categories of the COCO paper that the data set does not annotate.
_UNUSED_IDS = frozenset((12, 26, 29, 30, 45, 66, 68, 69, 71, 83))

# Category id -> name, in the order of the ids, which is that of the class indices.
CATEGORIES: dict[int, str] = dict(
    zip(
        (number for number in range(1, 91) if number not in _UNUSED_IDS),
        (name.strip() for name in _NAMES.replace("\n", " ").split(",")),
        strict=True,
    )
)


@dataclass(frozen=True)
class Places:
    """Where a split lies: its annotation file, and the folder that the file names in it are relative to."""

    annotations: Path
    images: Path


def places(root: Path, split: str) -> Places:
    """The places of a split ("train" or "val"): by COCO's own names, else, where they are there, by the plain ones."""
    official = Places(root / "annotations" / f"instances_{split}2017.json", root / f"{split}2017")
    plain = Places(root / "annotations" / f"{split}.json", root / split)
    return plain if plain.annotations.is_file() and not official.annotations.is_file() else official


def annotation_file(root: Path, split: str) -> Path:
    """The annotations of a split ("train" or "val")."""
    return places(root, split).annotations


def require_files(root: Path, split: str, layout: str = LAYOUT) -> tuple[Path, ...]:
    """The images of a split and its annotation file; the annotations are not read.

    Raises:
        DensebenchError: a folder or the annotation file is missing, or there is no image.
    """
    found = places(root, split)
    for path, is_there in (
        (root, root.is_dir()),
        (found.annotations, found.annotations.is_file()),
        (found.images, found.images.is_dir()),
    ):
        if not is_there:
            raise DensebenchError(_missing_text(root, f"{path} does not exist", layout))
    names = [name for name in file_names(found.images) if name.lower().endswith((".jpg", ".jpeg", ".png"))]
    if not names:
        raise DensebenchError(_missing_text(root, f"no image in the folder {found.images}", layout))
    return (*(found.images / name for name in names), found.annotations)


def file_names(folder: Path) -> list[str]:
    """The names of all files below a folder, relative to it, with slashes; without hidden ones; sorted.

    Raises:
        DensebenchError: a folder cannot be listed.
    """

    def unreadable(error: OSError) -> None:
        raise DensebenchError(f"the folder {error.filename} cannot be listed: {error.strerror}")

    names: list[str] = []
    for parent, folders, files in os.walk(folder, onerror=unreadable, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        prefix = "" if parent == str(folder) else f"{Path(parent).relative_to(folder).as_posix()}/"
        names.extend(f"{prefix}{name}" for name in files if not name.startswith("."))
    return sorted(names)


def read_annotations(file: Path) -> dict[str, Any]:
    """An annotation file's content, with its three lists in place; what they hold is judged by `find_problems`.

    Raises:
        DensebenchError: it is no JSON, or no annotation file of instances.
    """
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DensebenchError(
            f"the annotation file {file} cannot be read as JSON: {error}\ncopy or unpack it again"
        ) from error
    needed = {
        "images": ("id", "file_name", "height", "width"),
        "annotations": ("id", "image_id", "category_id", "bbox", "area", "iscrowd"),
        "categories": ("id", "name"),
    }
    for name, keys in needed.items():
        entries = content.get(name) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise DensebenchError(f"the annotation file {file} has no list '{name}'; COCO's instances_*.json have one")
        for index, entry in enumerate(entries):
            missing = [key for key in keys if not isinstance(entry, dict) or key not in entry]
            if missing:
                raise DensebenchError(f"{file}: entry {index} of '{name}' lacks {', '.join(missing)}")
    return content


def _missing_text(root: Path, missing: str, layout: str) -> str:
    return "\n".join(
        (
            f"no {layout} data: {missing}",
            f"expected under the data root {root.absolute()}:",
            textwrap.indent(_TREES[layout], "  "),
            "to get it:",
            textwrap.indent(_HOW_TO_GET[layout], "  "),
            "--data-root D points to another place; --mini runs without it, on a generated miniature",
        )
    )

"""COCO 2017: its folders, its 80 categories, and what is wrong with an annotation file."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from densebench.data.check import list_names
from densebench.errors import DensebenchError

LAYOUT = "coco"

_TREE = """\
train2017/000000000009.jpg ...             118287 images
val2017/000000000139.jpg ...               5000 images
annotations/instances_train2017.json
annotations/instances_val2017.json"""
_HOW_TO_GET = """\
download train2017.zip (18 GB), val2017.zip (1 GB) and annotations_trainval2017.zip (241 MB) from
http://images.cocodataset.org, folders zips and annotations, and unpack them into one folder, the data root"""
_SHOWN = 5

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


def annotation_file(root: Path, split: str) -> Path:
    """The annotations of a split ("train" or "val")."""
    return root / "annotations" / f"instances_{split}2017.json"


def require_files(root: Path, split: str) -> tuple[Path, ...]:
    """The images of a split and its annotation file; the annotations are not read.

    Raises:
        DensebenchError: a folder or the annotation file is missing, or there is no image.
    """
    images, file = root / f"{split}2017", annotation_file(root, split)
    for path, is_there in ((root, root.is_dir()), (images, images.is_dir()), (file, file.is_file())):
        if not is_there:
            raise DensebenchError(_missing_text(root, path))
    names = [name for name in list_names(images) if name.lower().endswith((".jpg", ".jpeg", ".png"))]
    if not names:
        raise DensebenchError(f"no image in the folder {images}\n{_missing_text(root, images)}")
    return (*(images / name for name in names), file)


def read_annotations(file: Path) -> dict[str, Any]:
    """An annotation file's content, with its three lists in place.

    Raises:
        DensebenchError: it is no JSON, or no annotation file of instances.
    """
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
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


def require_images(content: Mapping[str, Any], file: Path, folder: Path) -> None:
    """Every image of an annotation file must be in its folder.

    Raises:
        DensebenchError: some are not; how many, and which come first.
    """
    there = set(list_names(folder))
    missing = [image["file_name"] for image in content["images"] if image["file_name"] not in there]
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise DensebenchError(
            f"{len(missing)} of the {len(content['images'])} images of {file} are not in {folder}: "
            f"{', '.join(missing[:_SHOWN])}{more}\n"
            "unpack the images again, or take these out of the annotation file"
        )


def find_skipped(content: Mapping[str, Any]) -> dict[str, list[int]]:
    """Ids of the annotations that no training can use, by what is wrong with them.

    A detector's data set leaves them out silently; the metric counts them as objects that were missed.
    """
    images = {image["id"]: image for image in content["images"]}
    categories = {category["id"] for category in content["categories"]}
    found: dict[str, list[int]] = {}
    for entry in content["annotations"]:
        problem = _problem(entry, images.get(entry["image_id"]), categories)
        if problem is not None:
            found.setdefault(problem, []).append(entry["id"])
    return found


def skipped_text(skipped: Mapping[str, list[int]], file: Path) -> str:
    """One line a kind of problem, with the first ids."""
    lines = [f"annotations of {file} that are left out in training:"]
    for problem, ids in skipped.items():
        more = " ..." if len(ids) > _SHOWN else ""
        lines.append(f"  {len(ids)} {problem}: ids {', '.join(map(str, ids[:_SHOWN]))}{more}")
    return "\n".join(lines)


def _problem(entry: Mapping[str, Any], image: Mapping[str, Any] | None, categories: set[int]) -> str | None:
    if image is None:
        return "of an image that is not listed"
    if entry["category_id"] not in categories:
        return "of an unknown category"
    left, top, width, height = entry["bbox"]
    if width < 1 or height < 1 or entry["area"] <= 0:
        return "without area, or narrower than a pixel"
    if left >= image["width"] or top >= image["height"] or left + width <= 0 or top + height <= 0:
        return "outside the image"
    return None


def _missing_text(root: Path, missing: Path) -> str:
    return "\n".join(
        (
            f"no {LAYOUT} data: {missing} does not exist",
            f"expected under the data root {root.absolute()}:",
            textwrap.indent(_TREE, "  "),
            "to get it:",
            textwrap.indent(_HOW_TO_GET, "  "),
            "--data-root D points to another place; --mini runs without it, on a generated miniature",
        )
    )

"""What is wrong with an annotation file in COCO's format: what a run leaves out, and what it must refuse.

A detector's data set leaves out silently what it cannot use, and the metric may count the same entry, ignore it, or
read it as something else. Left out with a warning is what spoils no number; all else is refused.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from densebench.data.coco import file_names
from densebench.errors import DensebenchError

_SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """One kind of problem: `entries` are the ids (or names) of all that have it, in the order of the file."""

    problem: str
    entries: tuple[Any, ...]
    is_refused: bool

    def __str__(self) -> str:
        if not self.entries:
            return self.problem
        shown = ", ".join(map(str, self.entries[:_SHOWN]))
        rest = len(self.entries) - _SHOWN
        return f"{len(self.entries)} {self.problem}: {shown}" + (f" and {rest} more" if rest > 0 else "")


def find_problems(content: Mapping[str, Any], *, is_tested: bool, with_masks: bool) -> list[Finding]:
    """All problems that show without the images; `content` is that of `read_annotations`.

    Args:
        is_tested: the split is one to test on, so that the metric reads it too.
        with_masks: the method learns and is tested on masks; without, `segmentation` is not looked at.
    """
    findings = [*_image_problems(content["images"]), *_category_problems(content["categories"])]
    repeated = _repeated(_ids(content["annotations"]))
    if repeated:
        findings.append(Finding("annotations with the id of another, id", repeated, True))
    images = {image["id"]: image for image in content["images"] if _is_whole(image["id"])}
    categories = set(_ids(content["categories"]))
    found: dict[tuple[str, bool], list[Any]] = {}
    for entry in content["annotations"]:
        problem = _annotation_problem(entry, images, categories, is_tested)
        if problem is None and with_masks and _is_sized(images[entry["image_id"]]):
            problem = _mask_problem(entry.get("segmentation"), images[entry["image_id"]], is_tested)
        if problem is not None:
            found.setdefault(problem, []).append(entry["id"])
    findings.extend(
        Finding(f"annotations {problem}, id", tuple(ids), is_refused) for (problem, is_refused), ids in found.items()
    )
    return findings


def missing_images(content: Mapping[str, Any], folder: Path) -> list[Finding]:
    """The listed images that are not in their folder.

    Raises:
        DensebenchError: the folder cannot be listed.
    """
    there = set(file_names(folder))
    missing = tuple(str(image["file_name"]) for image in content["images"] if str(image["file_name"]) not in there)
    return [Finding(f"images listed that are not in {folder}", missing, True)] if missing else []


def missing_categories(content: Mapping[str, Any], classes: Iterable[str]) -> list[Finding]:
    """The model's classes that an annotation file does not name."""
    named = [category["name"] for category in content["categories"]]
    missing = tuple(name for name in classes if name not in named)
    return [Finding("categories of the model that are not listed", missing, True)] if missing else []


def require_usable(findings: Iterable[Finding], file: Path) -> None:
    """Refuse an annotation file with which a run would crash, or its metric be wrong.

    Raises:
        DensebenchError: what is wrong, how often, and which come first.
    """
    refused = [finding for finding in findings if finding.is_refused]
    if refused:
        raise DensebenchError(
            "\n".join(
                (
                    f"the annotation file {file} cannot be used:",
                    *(f"  {finding}" for finding in refused),
                    "mend the file, or take these entries out of it; tools/prepare_data.py check reports all problems",
                )
            )
        )


def warning_text(findings: Iterable[Finding], file: Path) -> str | None:
    """One line a kind of problem that is not refused; None where there is none."""
    lines = [f"  {finding}" for finding in findings if not finding.is_refused]
    return "\n".join((f"left out in training, of {file}:", *lines)) if lines else None


def require_same_categories(train: Mapping[str, Any], val: Mapping[str, Any], file: Path) -> dict[int, str]:
    """Category id -> name, in the order of the ids, on which the two splits must agree; `file` is that of `val`.

    Raises:
        DensebenchError: they do not, or the categories themselves are not in order.
    """
    for content in (train, val):
        require_usable(_category_problems(content["categories"]), file)
    first, second = ({entry["id"]: entry["name"] for entry in content["categories"]} for content in (train, val))
    if first != second:
        differing = [number for number in sorted(first | second) if first.get(number) != second.get(number)]
        shown = "; ".join(
            f"id {number}: {first.get(number, 'none')} in training, {second.get(number, 'none')} in validation"
            for number in differing[:_SHOWN]
        )
        raise DensebenchError(
            f"the categories of {file} and of the training split differ in {len(differing)}: {shown}\n"
            "give both annotation files the same list of categories, also those that one of them has no object of"
        )
    return dict(sorted(first.items()))


# One entry ----------------------------------------------------------------------------------------------------


def _image_problems(images: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    unsized = tuple(image["id"] for image in images if not (_is_whole(image["id"]) and _is_sized(image)))
    outside = tuple(image["file_name"] for image in images if not _is_inside(image["file_name"]))
    kinds = (
        ("images whose id, height or width is no whole number (sides above 0), id", unsized),
        ("images with the id of another, id", _repeated(_ids(images))),
        ("images whose file name is no path below their folder", outside),
    )
    yield from (Finding(problem, entries, True) for problem, entries in kinds if entries)
    if not images:
        yield Finding("no image is listed", (), True)


def _category_problems(categories: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    names = [category["name"] for category in categories]
    unnamed = tuple(entry["id"] for entry in categories if not (_is_whole(entry["id"]) and _is_name(entry["name"])))
    kinds = (
        ("categories whose id is no whole number or whose name is no text, id", unnamed),
        ("categories with the id of another, id", _repeated(_ids(categories))),
        ("categories with the name of another", _repeated(name for name in names if _is_name(name))),
    )
    yield from (Finding(problem, entries, True) for problem, entries in kinds if entries)
    if not categories:
        yield Finding("no category is listed", (), True)


def _annotation_problem(
    entry: Mapping[str, Any], images: Mapping[int, Mapping[str, Any]], categories: set[int], is_tested: bool
) -> tuple[str, bool] | None:
    """What is wrong with an annotation but for its mask, and whether that is refused."""
    if not all(_is_whole(entry[key]) for key in ("id", "image_id", "category_id")) or not _is_number(entry["area"]):
        return "whose ids are no whole numbers, or whose area is no number", True
    box = entry["bbox"]
    if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
        return "whose box is not four numbers (left, top, width, height)", True
    image = images.get(entry["image_id"])
    if image is None:
        return "of an image that is not listed", False
    if entry["category_id"] not in categories:
        return "of an unknown category", is_tested
    left, top, width, height = box
    if width < 1 or height < 1 or entry["area"] <= 0:
        return "without area, or narrower than a pixel", False
    if not _is_sized(image):
        return None  # told of the image
    if left >= image["width"] or top >= image["height"] or left + width <= 0 or top + height <= 0:
        return "outside the image", False
    return None


def _mask_problem(mask: Any, image: Mapping[str, Any], is_tested: bool) -> tuple[str, bool] | None:
    if not mask:
        return "without a mask, which this method needs (FCOS, configs/fcos_*, does not)", True
    if isinstance(mask, list):
        if not all(isinstance(polygon, list) and all(map(_is_number, polygon)) for polygon in mask):
            return "whose mask is neither a list of polygons nor run lengths", True
        if is_tested and len(mask[0]) < 6:
            # The first polygon tells COCO's evaluation what the whole mask is made of; four numbers are a box.
            return "whose first polygon has fewer than three points, which the evaluation misreads", True
        if any(len(polygon) < 6 or len(polygon) % 2 for polygon in mask):
            return "with a polygon of fewer than three points, or of half a point", False
        return None
    counts, size = (mask.get("counts"), mask.get("size")) if isinstance(mask, dict) else (None, None)
    if not isinstance(counts, (list, str)) or not isinstance(size, list):
        return "whose mask is neither a list of polygons nor run lengths", True
    height, width = image["height"], image["width"]
    if size != [height, width] or (isinstance(counts, list) and not _fills(counts, height * width)):
        return "whose run lengths are of another size than the image", True
    return None


def _fills(counts: list[Any], num_pixels: int) -> bool:
    return all(_is_whole(count) and count >= 0 for count in counts) and sum(counts) == num_pixels


def _ids(entries: Iterable[Mapping[str, Any]]) -> list[int]:
    return [entry["id"] for entry in entries if _is_whole(entry["id"])]


def _repeated(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(value for value, count in Counter(values).items() if count > 1)


def _is_sized(image: Mapping[str, Any]) -> bool:
    return all(_is_whole(image[side]) and image[side] > 0 for side in ("height", "width"))


def _is_inside(name: Any) -> bool:
    if not isinstance(name, str) or not name:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

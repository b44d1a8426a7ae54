"""Each kind of problem in an annotation file is found, counted and told apart: left out or refused."""

import copy
from pathlib import Path
from typing import Any

import pytest

from densebench.data.annotation_check import (
    find_problems,
    missing_images,
    require_same_categories,
    require_usable,
    warning_text,
)
from densebench.errors import DensebenchError

POLYGON = [[1, 1, 9, 1, 9, 9]]
GOOD: dict[str, Any] = {
    "images": [{"id": 7, "file_name": "a.jpg", "height": 20, "width": 30}],
    "annotations": [
        {
            "id": number,
            "image_id": 7,
            "category_id": 3,
            "bbox": [1, 1, 8, 8],
            "area": 32.0,
            "iscrowd": 0,
            "segmentation": POLYGON,
        }
        for number in (1, 2, 3)
    ],
    "categories": [{"id": 3, "name": "cat"}, {"id": 9, "name": "dog"}],
}


def spoiled(part: str, index: int = 0, **changes: Any) -> dict[str, Any]:
    content = copy.deepcopy(GOOD)
    content[part][index].update(changes)
    return content


def problems(content: dict[str, Any], is_tested: bool = False, with_masks: bool = True) -> list[tuple[str, bool]]:
    findings = find_problems(content, is_tested=is_tested, with_masks=with_masks)
    return [(str(finding), finding.is_refused) for finding in findings]


def test_a_good_file_has_none() -> None:
    assert problems(GOOD) == problems(GOOD, is_tested=True) == []


@pytest.mark.parametrize(
    ("change", "text", "refused_in_training", "refused_in_testing"),
    [
        ({"image_id": 8}, "1 annotations of an image that is not listed, id: 1", False, False),
        ({"category_id": 4}, "1 annotations of an unknown category, id: 1", False, True),
        ({"bbox": [1, 1, 0, 8]}, "1 annotations without area, or narrower than a pixel, id: 1", False, False),
        ({"area": 0}, "1 annotations without area, or narrower than a pixel, id: 1", False, False),
        ({"bbox": [30, 1, 5, 5]}, "1 annotations outside the image, id: 1", False, False),
        ({"bbox": [1, -9, 5, 9]}, "1 annotations outside the image, id: 1", False, False),
        ({"bbox": [1, 1, 5]}, "1 annotations whose box is not four numbers (left, top, width, height), id: 1", 1, 1),
        ({"bbox": [1, 1, float("nan"), 5]}, "1 annotations whose box is not four numbers", True, True),
        ({"image_id": "7"}, "1 annotations whose ids are no whole numbers", True, True),
        ({"area": None}, "1 annotations whose ids are no whole numbers, or whose area is no number", True, True),
        ({"id": 2}, "1 annotations with the id of another, id: 2", True, True),
    ],
)
def test_annotations(change: dict[str, Any], text: str, refused_in_training: bool, refused_in_testing: bool) -> None:
    content = spoiled("annotations", **change)
    for is_tested, is_refused in ((False, refused_in_training), (True, refused_in_testing)):
        for with_masks in (False, True):
            ((found, refused),) = problems(content, is_tested, with_masks)
            assert found.startswith(text) and refused == is_refused


@pytest.mark.parametrize(
    ("mask", "text", "refused_in_training", "refused_in_testing"),
    [
        ([], "1 annotations without a mask, which this method needs", True, True),
        (None, "1 annotations without a mask", True, True),
        ("whole", "1 annotations whose mask is neither a list of polygons nor run lengths", True, True),
        ([1, 1, 9, 1, 9, 9], "1 annotations whose mask is neither a list of polygons nor run lengths", True, True),
        ({"counts": [600]}, "1 annotations whose mask is neither", True, True),
        ({"size": [30, 20], "counts": "abc"}, "1 annotations whose run lengths are of another size", True, True),
        ({"size": [20, 30], "counts": [10, 500]}, "1 annotations whose run lengths are of another size", True, True),
        (POLYGON + [[1, 1, 2, 2]], "1 annotations with a polygon of fewer than three points", False, False),
        ([[1, 1, 9, 1, 9, 9, 4]], "1 annotations with a polygon of fewer than three points, or of half", False, False),
    ],
)
def test_masks(mask: Any, text: str, refused_in_training: bool, refused_in_testing: bool) -> None:
    content = spoiled("annotations", segmentation=mask)
    for is_tested, is_refused in ((False, refused_in_training), (True, refused_in_testing)):
        ((found, refused),) = problems(content, is_tested)
        assert found.startswith(text) and refused == is_refused
        assert problems(content, is_tested, with_masks=False) == []


@pytest.mark.parametrize("polygon", [[1, 1, 9, 9], [1, 1], []])
def test_a_first_polygon_that_the_evaluation_misreads(polygon: list[int]) -> None:
    content = spoiled("annotations", segmentation=[polygon, *POLYGON])
    assert problems(content) == [
        ("1 annotations with a polygon of fewer than three points, or of half a point, id: 1", False)
    ]
    assert problems(content, is_tested=True) == [
        ("1 annotations whose first polygon has fewer than three points, which the evaluation misreads, id: 1", True)
    ]


def test_whole_run_lengths_are_no_problem() -> None:
    assert problems(spoiled("annotations", segmentation={"size": [20, 30], "counts": [10, 50, 540]})) == []


@pytest.mark.parametrize(
    ("part", "change", "text"),
    [
        ("images", {"height": 0}, "1 images whose id, height or width is no whole number (sides above 0), id: 7"),
        ("images", {"width": 30.5}, "1 images whose id, height or width"),
        ("images", {"file_name": "../a.jpg"}, "1 images whose file name is no path below their folder: ../a.jpg"),
        ("images", {"file_name": "/a.jpg"}, "1 images whose file name is no path"),
        ("images", {"file_name": ["a.jpg"]}, "1 images whose file name is no path"),
        ("categories", {"id": 9}, "1 categories with the id of another, id: 9"),
        ("categories", {"name": "dog"}, "1 categories with the name of another: dog"),
        ("categories", {"name": " "}, "1 categories whose id is no whole number or whose name is no text, id: 3"),
    ],
)
def test_images_and_categories_are_refused(part: str, change: dict[str, Any], text: str) -> None:
    found = problems(spoiled(part, **change))
    assert found[0][0].startswith(text) and all(is_refused for _, is_refused in found if "unknown" not in _)


def test_repeated_images() -> None:
    content = copy.deepcopy(GOOD)
    content["images"] *= 2
    assert problems(content) == [("1 images with the id of another, id: 7", True)]


def test_nothing_listed() -> None:
    assert [text for text, _ in problems({"images": [], "annotations": [], "categories": []})] == [
        "no image is listed",
        "no category is listed",
    ]


def test_missing_images(tmp_path: Path) -> None:
    (finding,) = missing_images(GOOD, tmp_path)
    assert str(finding) == f"1 images listed that are not in {tmp_path}: a.jpg" and finding.is_refused
    (tmp_path / "a.jpg").touch()
    assert missing_images(GOOD, tmp_path) == []


def test_all_that_is_refused_is_one_message_with_the_first_entries() -> None:
    content = copy.deepcopy(GOOD)
    content["annotations"] = [
        {**GOOD["annotations"][0], "id": number, "category_id": 5 if number < 8 else 3, "bbox": [99, 0, 1, 1]}
        for number in range(10)
    ]
    content["images"][0]["file_name"] = "/a.jpg"
    findings = find_problems(content, is_tested=True, with_masks=True)
    with pytest.raises(DensebenchError) as error:
        require_usable(findings, Path("val.json"))
    text = str(error.value)
    assert "val.json cannot be used" in text and "no path below" in text
    assert "8 annotations of an unknown category, id: 0, 1, 2, 3, 4 and 3 more" in text
    assert "outside" not in text
    assert "2 annotations outside the image, id: 8, 9" in (warning_text(findings, Path("val.json")) or "")


def test_categories_of_both_splits() -> None:
    file = Path("val.json")
    assert require_same_categories(GOOD, GOOD, file) == {3: "cat", 9: "dog"}
    swapped = {**GOOD, "categories": [{"id": 9, "name": "cat"}, {"id": 3, "name": "dog"}]}
    with pytest.raises(DensebenchError, match="id 3: cat in training, dog in validation; id 9: dog in training, cat"):
        require_same_categories(GOOD, swapped, file)
    with pytest.raises(DensebenchError, match="id 9: dog in training, none in validation"):
        require_same_categories(GOOD, {**GOOD, "categories": GOOD["categories"][:1]}, file)
    with pytest.raises(DensebenchError, match="with the id of another, id: 3"):
        require_same_categories(GOOD, {**GOOD, "categories": GOOD["categories"] * 2}, file)

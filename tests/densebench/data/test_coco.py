"""COCO's files and annotations: what is missing or wrong is said, counted and listed."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

import densebench.registration_detection  # noqa: F401
from densebench.data import detection_dataset, mini
from densebench.data.annotation_check import find_problems
from densebench.data.coco import CATEGORIES, annotation_file, read_annotations, require_files
from densebench.data.detection_dataset import CheckedCocoDataset
from densebench.errors import DensebenchError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the miniature that a test may damage."""
    return Path(shutil.copytree(mini.make("coco"), tmp_path / "coco"))


def rewrite(root: Path, change: Any) -> None:
    file = annotation_file(root, "val")
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def data_set(root: Path, **options: Any) -> CheckedCocoDataset:
    return CheckedCocoDataset(
        data_root=str(root),
        ann_file="annotations/instances_val2017.json",
        data_prefix={"img": "val2017/"},
        pipeline=[],
        **options,
    )


def test_categories_are_those_of_mmdet_in_their_order() -> None:
    assert tuple(CATEGORIES.values()) == CheckedCocoDataset.METAINFO["classes"]
    assert (CATEGORIES[1], CATEGORIES[13], CATEGORIES[44], CATEGORIES[90]) == (
        "person", "stop sign", "bottle", "toothbrush",
    )  # fmt: skip


def test_two_runs_give_equal_bytes(tmp_path: Path) -> None:
    first, second = mini.make("coco", tmp_path / "a"), mini.make("coco", tmp_path / "b")
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(names) == 64 + 24 + 2 + 1
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_the_miniature_is_read_whole(root: Path) -> None:
    content = read_annotations(annotation_file(root, "val"))
    assert not find_problems(content, is_tested=True, with_masks=True)
    found = data_set(root, test_mode=True)
    assert len(found) == len(content["images"]) == 24
    assert sum(len(found[index]["instances"]) for index in range(24)) == len(content["annotations"])
    assert len(require_files(root, "val")) == 25
    assert len({entry["category_id"] for entry in content["annotations"]}) == 8


@pytest.mark.parametrize("gone", ["val2017", "annotations/instances_val2017.json", "."])
def test_missing_files_say_how_to_get_them(root: Path, gone: str) -> None:
    path = root / gone
    path.unlink() if path.is_file() else shutil.rmtree(path)
    with pytest.raises(DensebenchError) as error:
        require_files(root, "val")
    for part in ("does not exist", "train2017/", "annotations_trainval2017.zip", "--mini"):
        assert part in str(error.value)


def test_a_folder_without_images(root: Path) -> None:
    shutil.rmtree(root / "val2017")
    (root / "val2017").mkdir()
    with pytest.raises(DensebenchError, match=r"no image in the folder .*val2017"):
        require_files(root, "val")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [', "cannot be read as JSON"),
        ("[]", "no list 'images'"),
        ('{"images": [{"id": 1}]}', "entry 0 of 'images' lacks file_name, height, width"),
    ],
)
def test_an_annotation_file_that_is_none(root: Path, text: str, message: str) -> None:
    annotation_file(root, "val").write_text(text)
    with pytest.raises(DensebenchError, match=message):
        data_set(root)


def test_missing_images_are_counted_and_named(root: Path) -> None:
    for path in sorted((root / "val2017").iterdir())[:7]:
        path.unlink()
    with pytest.raises(DensebenchError, match=r"7 images listed that are not in .* 000000000001\.jpg, .* and 2 more"):
        data_set(root)


def test_categories_that_the_model_knows_and_the_file_does_not(root: Path) -> None:
    rewrite(root, lambda content: content.update(categories=content["categories"][:70]))
    with pytest.raises(DensebenchError, match=r"10 categories of the model that are not listed: .* and 5 more"):
        data_set(root)


def test_annotations_of_no_use_are_counted_with_a_warning(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(content: dict[str, Any]) -> None:
        entries = content["annotations"]
        entries[0]["category_id"] = 12
        entries[1]["bbox"] = [500, 10, 20, 20]
        entries[2]["bbox"][2] = 0
        entries[3]["area"] = 0
        entries[4]["image_id"] = 999

    rewrite(root, spoil)
    content = read_annotations(annotation_file(root, "val"))
    logged: list[tuple[str, int]] = []
    monkeypatch.setattr(detection_dataset, "print_log", lambda text, logger, level: logged.append((text, level)))
    found = data_set(root, filter_cfg=None)
    ((text, level),) = logged
    assert level == logging.WARNING
    for line in (
        "1 annotations of an unknown category, id: 1",
        "1 annotations outside the image, id: 2",
        "2 annotations without area, or narrower than a pixel, id: 3, 4",
        "1 annotations of an image that is not listed, id: 5",
    ):
        assert line in text
    kept = sum(len(found[index]["instances"]) for index in range(len(found)))
    assert kept == len(content["annotations"]) - 5
    with pytest.raises(DensebenchError, match="cannot be used:\n  1 annotations of an unknown category, id: 1\n"):
        data_set(root, test_mode=True)


def test_the_order_of_the_categories_in_the_file_does_not_matter(root: Path) -> None:
    before = data_set(root, test_mode=True)
    rewrite(root, lambda content: content["categories"].reverse())
    after = data_set(root, test_mode=True)
    for index in range(len(before)):
        labels = [[entry["bbox_label"] for entry in data[index]["instances"]] for data in (before, after)]
        assert labels[0] == labels[1]


def test_images_in_sub_folders(root: Path) -> None:
    (root / "val2017/town").mkdir()
    (root / "val2017/000000000001.jpg").rename(root / "val2017/town/a.jpg")

    def move(content: dict[str, Any]) -> None:
        content["images"][0]["file_name"] = "town/a.jpg"

    rewrite(root, move)
    assert root / "val2017/town/a.jpg" in require_files(root, "val")
    assert data_set(root, test_mode=True)[0]["img_path"].endswith("val2017/town/a.jpg")

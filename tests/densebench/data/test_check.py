from pathlib import Path

import pytest

from densebench.data.check import require_split
from densebench.data.layouts import LAYOUTS
from densebench.errors import DensebenchError


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder data set of three images."""
    touch(tmp_path / "images/val", "c.PNG", "a.b.jpg", "b.jpeg", ".hidden.jpg", "readme.txt")
    touch(tmp_path / "labels/val", "a.b.png", "b.png", "c.png", "._b.png")
    (tmp_path / "classes.txt").write_text("sky\nroad\n")
    return tmp_path


def test_files_are_paired_and_sorted(root: Path):
    split = require_split("folder", root, "val")
    assert [path.name for path in split.images] == ["a.b.jpg", "b.jpeg", "c.PNG"]
    assert split.labels == tuple(root / "labels/val" / name for name in ("a.b.png", "b.png", "c.png"))


def test_ade20k(tmp_path: Path):
    touch(tmp_path / "images/validation", "ADE_val_00000001.jpg")
    touch(tmp_path / "annotations/validation", "ADE_val_00000001.png")
    split = require_split("ade20k", tmp_path, "val")
    assert split.images == (tmp_path / "images/validation/ADE_val_00000001.jpg",)
    assert split.labels == (tmp_path / "annotations/validation/ADE_val_00000001.png",)


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_a_missing_root_says_what_to_do(layout: str, tmp_path: Path):
    with pytest.raises(DensebenchError) as error:
        require_split(layout, tmp_path / "nowhere", "train")
    text = str(error.value)
    assert f"the folder {tmp_path / 'nowhere'} does not exist" in text
    assert all(folder in text for folder in LAYOUTS[layout].image_folders.values())
    assert all(folder in text for folder in LAYOUTS[layout].label_folders.values())
    assert "--data-root" in text and "--mini" in text
    assert ("ADEChallengeData2016.zip" in text) == (layout == "ade20k")


@pytest.mark.parametrize("folder", ["images/val", "labels/val"])
def test_a_missing_folder_is_named(root: Path, folder: str):
    (root / folder).rename(root / "aside")
    with pytest.raises(DensebenchError, match=f"{folder} does not exist"):
        require_split("folder", root, "val")


def test_classes_are_required(root: Path):
    (root / "classes.txt").unlink()
    with pytest.raises(DensebenchError, match=r"classes.txt does not exist"):
        require_split("folder", root, "val")


def test_an_empty_split(root: Path):
    touch(root / "images/train")
    touch(root / "labels/train")
    with pytest.raises(DensebenchError, match=r"no files ending in .jpg, .jpeg, .png in .*images/train; it is empty"):
        require_split("folder", root, "train")


def test_a_split_of_other_files(root: Path):
    touch(root / "images/train", *(f"{index}.tif" for index in range(7)))
    touch(root / "labels/train", "0.png")
    with pytest.raises(DensebenchError, match=r"found 7 others: 0.tif, 1.tif, 2.tif, 3.tif, 4.tif and 2 more"):
        require_split("folder", root, "train")


def test_files_that_do_not_pair(root: Path):
    touch(root / "images/val", *(f"new{index}.jpg" for index in range(6)))
    touch(root / "labels/val", "old.png")
    with pytest.raises(DensebenchError) as error:
        require_split("folder", root, "val")
    text = str(error.value)
    assert "6 of 9 images have no label: new0.jpg, new1.jpg, new2.jpg, new3.jpg, new4.jpg and 1 more" in text
    assert "1 of 4 labels have no image: old.png" in text


def test_two_images_of_one_name(root: Path):
    touch(root / "images/val", "b.png")
    with pytest.raises(DensebenchError, match=r"two files of one name in .*: b.jpeg and b.png"):
        require_split("folder", root, "val")


def test_unknown_layout_and_split(root: Path):
    with pytest.raises(DensebenchError, match="unknown data set layout 'voc'; known: ade20k, folder"):
        require_split("voc", root, "val")
    with pytest.raises(DensebenchError, match="unknown split 'test' of the layout folder; valid: train, val"):
        require_split("folder", root, "test")

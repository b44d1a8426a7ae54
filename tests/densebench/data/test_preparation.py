"""Small archives of the official structure, whole and damaged."""

import io
import os
import shutil
import stat
import zipfile
from collections import namedtuple
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from densebench.data import preparation
from densebench.data.preparation import SOURCES, members, prepare
from densebench.errors import DensebenchError

QUIET = Console(quiet=True)


def picture(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


LABEL = picture(np.full((4, 6), 7, np.uint8))  # Cityscapes: 7 is road, training class 0
IMAGE = picture(np.zeros((4, 6, 3), np.uint8))
TOWN = "aachen/aachen_000000_000019"
ADE = "ADEChallengeData2016"
CONTENTS: dict[str, Mapping[str, bytes]] = {
    "ADEChallengeData2016.zip": {
        f"{ADE}/images/training/ADE_train_00000001.jpg": IMAGE,
        f"{ADE}/images/validation/ADE_val_00000001.jpg": IMAGE,
        f"{ADE}/annotations/training/ADE_train_00000001.png": LABEL,
        f"{ADE}/annotations/validation/ADE_val_00000001.png": LABEL,
        f"{ADE}/objectInfo150.txt": b"wall",
        "__MACOSX/._images": b"",
    },
    "leftImg8bit_trainvaltest.zip": {
        **{f"leftImg8bit/{split}/{TOWN}_leftImg8bit.png": IMAGE for split in ("train", "val", "test")},
        "license.txt": b"terms",
    },
    "gtFine_trainvaltest.zip": {
        **{f"gtFine/{split}/{TOWN}_gtFine_labelIds.png": LABEL for split in ("train", "val", "test")},
        "license.txt": b"terms",
    },
    "train2017.zip": {"train2017/000000000009.jpg": IMAGE},
    "val2017.zip": {"val2017/000000000139.jpg": IMAGE},
    "annotations_trainval2017.zip": {
        "annotations/instances_train2017.json": b"{}",
        "annotations/instances_val2017.json": b"{}" * 5000,
    },
}


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    folder = tmp_path / "archives"
    folder.mkdir()
    for name, files in CONTENTS.items():
        with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.mkdir(next(iter(files)).split("/")[0]) if hasattr(archive, "mkdir") else None
            for path, content in files.items():
                archive.writestr(path, content)
    return folder


def found(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("dataset", list(SOURCES))
def test_all_files_lie_where_the_recipes_look(archives: Path, tmp_path: Path, dataset: str) -> None:
    root = prepare(dataset, archives, tmp_path / "data", QUIET)
    expected = {
        path.removeprefix(f"{ADE}/"): content
        for name in SOURCES[dataset].archives
        for path, content in CONTENTS[name].items()
        if "__MACOSX" not in path
    }
    there = found(root)
    made = {path for path in there if path.endswith("labelTrainIds.png")}
    assert len(made) == (2 if dataset == "cityscapes" else 0)  # of train and val; nothing is tested on test
    assert {path: content for path, content in there.items() if path not in made} == expected
    assert all(np.asarray(Image.open(root / path)).max() == 0 for path in made)


def test_the_data_root_of_the_recipes_is_the_default(
    archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for dataset, source in SOURCES.items():
        assert prepare(dataset, archives, None, QUIET) == Path(source.data_root)
        base = Path(__file__).resolve().parents[3] / f"configs/_base_/datasets/{dataset}.py"
        assert f'data_root = "{source.data_root}"' in base.read_text()


def test_a_second_run_writes_what_is_missing_and_nothing_else(archives: Path, tmp_path: Path) -> None:
    root = prepare("coco", archives, tmp_path / "data", QUIET)
    kept, gone, cut = root / "train2017/000000000009.jpg", *sorted((root / "annotations").iterdir())
    os.utime(kept, (1, 1))
    gone.unlink()
    cut.write_bytes(b"half")
    prepare("coco", archives, tmp_path / "data", QUIET)
    assert kept.stat().st_mtime == 1
    assert (gone.read_bytes(), cut.read_bytes()) == (b"{}", b"{}" * 5000)


def test_a_run_that_is_stopped_leaves_whole_files_only(
    archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(zipfile.ZipExtFile):
        def read(self, n: int | None = -1) -> bytes:
            if self.name.endswith("val2017.json"):
                raise KeyboardInterrupt
            return super().read(n)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(zipfile, "ZipExtFile", Stopped)
        prepare("coco", archives, tmp_path / "data", QUIET)
    assert sorted(found(tmp_path / "data")) == [
        "annotations/instances_train2017.json",
        "train2017/000000000009.jpg",
        "val2017/000000000139.jpg",
    ]
    prepare("coco", archives, tmp_path / "data", QUIET)
    assert len(found(tmp_path / "data")) == 4


def test_missing_archives_are_named(archives: Path, tmp_path: Path) -> None:
    (archives / "val2017.zip").unlink()
    with pytest.raises(
        DensebenchError, match=r"^val2017.zip not found in the folder .*archives; expected there: train"
    ):
        prepare("coco", archives, tmp_path / "data", QUIET)
    assert not (tmp_path / "data").exists()


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    start = content.index(b"instances_val2017.json") + len(b"instances_val2017.json")
    content[start + 8] ^= 0xFF
    file.write_bytes(bytes(content))


def no_archive(file: Path) -> None:
    file.write_text("<html>please log in</html>")


@pytest.mark.parametrize("damage", [cut_off, flip_a_bit, no_archive])
def test_a_damaged_archive_is_one_message(archives: Path, tmp_path: Path, damage: object) -> None:
    damage(archives / "annotations_trainval2017.zip")
    with pytest.raises(DensebenchError, match=r"annotations_trainval2017.zip \(0.0 MB\) is cut off, damaged or no zip"):
        prepare("coco", archives, tmp_path / "data", QUIET)
    assert not list(tmp_path.rglob("*.part")) and not list(tmp_path.rglob("instances_val2017.json"))


@pytest.mark.parametrize("name", ["../evil.txt", "/tmp/evil.txt", "a/../../evil.txt", "C:\\evil.txt", "..\\evil.txt"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("good.txt", "good")
        archive.writestr(name, "evil")
    with pytest.raises(DensebenchError, match="holds 1 links or names that lead out of its folder"):
        members(file, tmp_path / "data")


def test_links_are_refused(tmp_path: Path) -> None:
    file, link = tmp_path / "a.zip", zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(link, "/etc")
    with pytest.raises(DensebenchError, match="holds 1 links"):
        members(file, tmp_path / "data")


def test_too_little_room_is_told_before_anything_is_written(
    archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(preparation.shutil, "disk_usage", lambda folder: usage(100, 0, 100))
    with pytest.raises(DensebenchError, match=r"0.0 GB are free there\nmake room"):
        prepare("coco", archives, tmp_path / "data", QUIET)
    assert not (tmp_path / "data").exists()
    monkeypatch.undo()
    assert shutil.disk_usage(tmp_path).free > 100

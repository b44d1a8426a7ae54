"""Cityscapes: the official folders, and the training labels made from the label ids."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from mmseg.datasets import CityscapesDataset
from PIL import Image

from densebench import whole_files
from densebench.data import cityscapes, mini
from densebench.data.check import require_split
from densebench.data.cityscapes import label_id_of_train_id, train_id_of_label_id, write_missing_train_ids
from densebench.data.dataset import locate
from densebench.data.scenes import CLASSES
from densebench.errors import DensebenchError

DESCRIPTION = {"dataset": "cityscapes", "num_classes": 19}
# What scenes and Cityscapes both have, under Cityscapes' names.
SHARED = {"road", "building", "wall", "vegetation", "terrain", "sky", "person", "car", "traffic sign"}


@pytest.fixture(scope="module")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(mini, "NUM_IMAGES", {"train": 6, "val": 3})
        return mini.make("cityscapes", tmp_path_factory.mktemp("cache"))


@pytest.fixture
def root(miniature: Path, tmp_path: Path) -> Path:
    """A copy of the miniature, without training labels."""
    return Path(shutil.copytree(miniature, tmp_path / "data"))


def label_files(root: Path, suffix: str) -> list[Path]:
    return sorted(root.glob(f"gtFine/*/*/*{suffix}"))


def test_the_table_is_the_official_one() -> None:
    table, back = train_id_of_label_id(), label_id_of_train_id()
    assert table[back].tolist() == list(range(19))
    assert back[[0, 1, 13, 18]].tolist() == [7, 8, 26, 33]
    assert (table[:34] == 255).sum() == 34 - 19 and (table[34:] == 254).all()


def test_training_labels_are_made_once(root: Path) -> None:
    with pytest.raises(DensebenchError, match=r"no files ending in _gtFine_labelTrainIds.png .*found 6 others"):
        require_split("cityscapes", root, "train")
    assert write_missing_train_ids(root) == 9
    assert write_missing_train_ids(root) == 0
    label_ids, train_ids = (label_files(root, suffix) for suffix in ("_labelIds.png", "_labelTrainIds.png"))
    assert len(label_ids) == len(train_ids) == 9
    found = set()
    for ids, made in zip(label_ids, train_ids, strict=True):
        values = np.asarray(Image.open(made))
        assert np.array_equal(values, train_id_of_label_id()[np.asarray(Image.open(ids))])
        found |= set(np.unique(values).tolist())
    names = CityscapesDataset.METAINFO["classes"]
    assert {names[value] for value in found - {255}} == SHARED and 255 in found
    assert not list(root.rglob(".*-*"))  # no temporary file is left


def test_an_existing_training_label_is_kept(root: Path) -> None:
    own = Path(str(label_files(root, "_labelIds.png")[0]).replace("labelIds", "labelTrainIds"))
    own.write_bytes(b"own")
    assert write_missing_train_ids(root) == 8
    assert own.read_bytes() == b"own"


def test_images_and_labels_pair_over_the_cities(root: Path) -> None:
    dataset = locate(DESCRIPTION, str(root), use_mini=False)
    assert dataset.num_classes == 19
    split = require_split("cityscapes", root, "train")
    assert [path.parent.name for path in split.images] == ["firsttown"] * 3 + ["secondtown"] * 3
    for image, label in zip(split.images, split.labels, strict=True):
        assert image.name.removesuffix("_leftImg8bit.png") == label.name.removesuffix("_gtFine_labelTrainIds.png")
    files = CityscapesDataset(
        data_root=str(root), data_prefix={"img_path": "leftImg8bit/train", "seg_map_path": "gtFine/train"}
    )
    assert {entry["img_path"] for entry in files.load_data_list()} == {str(path) for path in split.images}
    assert {entry["seg_map_path"] for entry in files.load_data_list()} == {str(path) for path in split.labels}


def test_an_image_without_label_is_named_with_its_city(root: Path) -> None:
    label_files(root, "_labelIds.png")[0].unlink()
    with pytest.raises(DensebenchError, match=r"1 of 6 images have no label: firsttown_000000_000019_leftImg8bit"):
        locate(DESCRIPTION, str(root), use_mini=False)


def test_missing_data_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DensebenchError) as error:
        locate(DESCRIPTION, str(tmp_path), use_mini=False)
    for part in ("leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip", "cityscapes-dataset.com"):
        assert part in str(error.value)


def test_a_value_that_is_no_label_id(root: Path) -> None:
    path = label_files(root, "_labelIds.png")[0]
    Image.fromarray(np.full((4, 8), 77, np.uint8)).save(path)
    with pytest.raises(
        DensebenchError, match=r"firsttown_000000_000019_gtFine_labelIds.png .*label id: 77\nvalid: 0..33"
    ):
        write_missing_train_ids(root)


def test_a_broken_label_file(root: Path) -> None:
    label_files(root, "_labelIds.png")[0].write_bytes(b"no picture")
    with pytest.raises(DensebenchError, match="cannot be read"):
        write_missing_train_ids(root)


def test_a_folder_that_cannot_be_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)  # file modes do not stop a superuser
    with pytest.raises(DensebenchError, match=r"is missing and cannot be written(.|\n)*csCreateTrainIdLabelImgs"):
        write_missing_train_ids(root)


def test_the_miniature_stays_whole_with_training_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini, "NUM_IMAGES", {"train": 2, "val": 2})
    monkeypatch.setenv("DENSEBENCH_CACHE", str(tmp_path))
    first = locate(DESCRIPTION, None, use_mini=True)
    made = label_files(first.root, "_labelTrainIds.png")
    moment = made[0].stat().st_mtime_ns
    assert locate(DESCRIPTION, None, use_mini=True) == first and made[0].stat().st_mtime_ns == moment
    assert len(made) == 4 and Image.open(made[0]).size == (224, 112)
    # What another process is writing, or a killed one has left.
    (made[0].parent / f".unfinished{whole_files.SUFFIX}").touch()
    assert mini.is_generated(first.root)


def test_the_miniature_knows_every_class_of_the_scenes() -> None:
    assert set(mini._CITYSCAPES_IDS) == set(CLASSES)
    table = train_id_of_label_id()
    names = CityscapesDataset.METAINFO["classes"]
    evaluated = {table[value] for value in mini._CITYSCAPES_IDS.values()} - {cityscapes.IGNORED_TRAIN_ID}
    assert {names[index] for index in evaluated} == SHARED

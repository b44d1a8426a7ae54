from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DATASETS, init_default_scope
from mmseg.datasets import BaseSegDataset
from PIL import Image
from torch.utils.data import DataLoader

from densebench.data.dataset import require_labelled_pixels
from densebench.data.folder import FolderSegDataset
from densebench.errors import DensebenchError, original_text

HEIGHT, WIDTH = 16, 24
CLASSES = [f"class {index}" for index in range(11)]
PLAIN_PIPELINE = [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}, {"type": "PackSegInputs"}]
CHECKED_PIPELINE = [
    {"type": "LoadCheckedImage"},
    {"type": "LoadCheckedLabels", "num_classes": 11},
    {"type": "PackSegInputs"},
]


@pytest.fixture(autouse=True)
def mmseg_scope() -> None:
    init_default_scope("mmseg")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two training images and one validation image; label values 0..11, of which 11 means unlabelled."""
    for name in ("train/b.png", "train/a.jpeg", "val/c.jpg"):
        image, label = tmp_path / "images" / name, (tmp_path / "labels" / name).with_suffix(".png")
        image.parent.mkdir(parents=True, exist_ok=True)
        label.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT), (10, 20, 30)).save(image)
        Image.fromarray(label_values()).save(label)
    (tmp_path / "classes.txt").write_text("\n".join([*CLASSES, "ignore 11"]))
    return tmp_path


def label_values() -> np.ndarray:
    return (np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 12).astype(np.uint8)


def test_registered_as_one_of_mmseg():
    assert DATASETS.get("FolderSegDataset") is FolderSegDataset and issubclass(FolderSegDataset, BaseSegDataset)


def test_entries_and_classes(root: Path):
    train = DATASETS.build({"type": "FolderSegDataset", "data_root": str(root), "split": "train"})
    assert [Path(train[index]["img_path"]).name for index in range(2)] == ["a.jpeg", "b.png"]
    assert [Path(train[index]["seg_map_path"]).name for index in range(2)] == ["a.png", "b.png"]
    assert list(train.metainfo["classes"]) == CLASSES
    assert train.metainfo["palette"] == FolderSegDataset(root, "val").metainfo["palette"]
    assert train.ignore_index == 255 and train.ignore_value == 11


@pytest.mark.parametrize("pipeline", [PLAIN_PIPELINE, CHECKED_PIPELINE])
@pytest.mark.parametrize("test_mode", [False, True])
def test_the_ignore_value_becomes_255(root: Path, pipeline: list[dict], test_mode: bool):
    data = FolderSegDataset(root, "val", pipeline=pipeline, test_mode=test_mode)
    loaded = data[0]["data_samples"].gt_sem_seg.data.squeeze(0).numpy()
    assert np.array_equal(loaded, np.where(label_values() == 11, 255, label_values()))


def test_lazy_init_knows_the_classes(root: Path):
    assert len(FolderSegDataset(root, "train", lazy_init=True).metainfo["classes"]) == 11


def test_a_wrong_label_is_reported_through_a_worker(root: Path):
    path = root / "labels/val/c.png"
    Image.fromarray(label_values() + 1).save(path)
    data = FolderSegDataset(root, "val", pipeline=CHECKED_PIPELINE)
    batches = iter(DataLoader(data, num_workers=1, collate_fn=list))
    with pytest.raises(DensebenchError) as error:
        next(batches)
    batches._shutdown_workers()  # left to the garbage collector, this takes five seconds
    text = original_text(error.value)
    assert text.startswith(f"label {path} holds values that are no class: 12 (32 pixels)\n")


def test_files_that_do_not_pair(root: Path):
    (root / "labels/train/b.png").unlink()
    with pytest.raises(DensebenchError, match=r"1 of 2 images have no label: b.png"):
        FolderSegDataset(root, "train")


def test_a_missing_split(root: Path):
    with pytest.raises(DensebenchError, match="unknown split 'test'"):
        FolderSegDataset(root, "test")


def test_missing_classes(root: Path):
    (root / "classes.txt").unlink()
    with pytest.raises(DensebenchError, match=r"classes.txt does not exist"):
        FolderSegDataset(root, "train", lazy_init=True)


def blank(path: Path, value: int) -> None:
    Image.fromarray(np.full((HEIGHT, WIDTH), value, np.uint8)).save(path)


def test_a_split_without_a_labelled_pixel_is_refused(root: Path):
    blank(root / "labels/train/a.png", 11)  # of three labels of the training split one is enough
    require_labelled_pixels("folder", root, "train")
    blank(root / "labels/val/c.png", 11)
    with pytest.raises(DensebenchError, match=r"no labelled pixel in the 1 labels .*labels/val: all are 11"):
        require_labelled_pixels("folder", root, "val")


@pytest.mark.parametrize(
    ("layout", "label", "unlabelled"),
    [
        ("ade20k", "annotations/validation/a.png", 0),
        ("cityscapes", "gtFine/val/town/a_gtFine_labelTrainIds.png", 255),
    ],
)
def test_each_layout_has_its_own_unlabelled_value(tmp_path: Path, layout: str, label: str, unlabelled: int):
    image = tmp_path / label.replace("annotations", "images").replace("gtFine/", "leftImg8bit/")
    image = image.with_name("a_leftImg8bit.png") if layout == "cityscapes" else image.with_suffix(".jpg")
    for path in (tmp_path / label, image):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    require_labelled_pixels(layout, tmp_path, "val")  # what cannot be read is left to the loading, which names it
    blank(tmp_path / label, 7)
    require_labelled_pixels(layout, tmp_path, "val")
    blank(tmp_path / label, unlabelled)
    with pytest.raises(DensebenchError, match="no labelled pixel in the 1 labels"):
        require_labelled_pixels(layout, tmp_path, "val")

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from mmseg.datasets import ADE20KDataset
from PIL import Image

from densebench.data import mini
from densebench.data.check import require_split
from densebench.data.classes import read_classes
from densebench.data.layouts import LAYOUTS
from densebench.data.scenes import CLASSES, make_scene
from densebench.errors import DensebenchError


@pytest.fixture
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini, "NUM_IMAGES", {"train": 9, "val": 2})


@pytest.fixture(scope="module")
def ade20k(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mini.make("ade20k", tmp_path_factory.mktemp("cache"))


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_ade20k_layout_and_encoding(ade20k: Path):
    train, val = require_split("ade20k", ade20k, "train"), require_split("ade20k", ade20k, "val")
    assert (len(train.images), len(val.images)) == (64, 24)
    assert train.images[0] == ade20k / "images/training/ADE_train_00000001.jpg"
    assert val.labels[-1] == ade20k / "annotations/validation/ADE_val_00000024.png"
    values = set()
    for image_path, label_path in zip(train.images + val.images, train.labels + val.labels, strict=True):
        image, label = Image.open(image_path), Image.open(label_path)
        assert (image.mode, label.mode) == ("RGB", "L") and image.size == label.size
        values |= set(np.unique(label).tolist())
    names = ADE20KDataset.METAINFO["classes"]
    assert {names[value - 1] for value in values - {0}} == set(CLASSES)
    assert 0 in values and max(values) <= 150


def test_ade20k_classes_keep_their_names():
    names = ADE20KDataset.METAINFO["classes"]
    assert set(mini._ADE20K_IDS) == set(CLASSES)
    assert all(names[class_id - 1] == name for name, class_id in mini._ADE20K_IDS.items())


def test_every_class_is_in_both_splits(ade20k: Path):
    for split in ("train", "val"):
        labels = require_split("ade20k", ade20k, split).labels
        assert len(set().union(*(np.unique(Image.open(path)).tolist() for path in labels)) - {0}) == len(CLASSES)


def test_sizes_vary(ade20k: Path):
    sizes = [Image.open(path).size for path in require_split("ade20k", ade20k, "train").images]
    assert len(set(sizes)) > 20
    assert all(128 <= min(size) <= 160 and max(size) <= 213 for size in sizes)
    assert 5 < sum(height > width for width, height in sizes) < 20


def test_it_is_small(ade20k: Path):
    assert sum(len(content) for content in contents(ade20k).values()) < 6e6


@pytest.mark.usefixtures("few_images")
@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_two_runs_give_equal_bytes(layout: str, tmp_path: Path):
    first, second = mini.make(layout, tmp_path / "first"), mini.make(layout, tmp_path / "second")
    assert contents(first) == contents(second)


@pytest.mark.usefixtures("few_images")
def test_folder_layout(tmp_path: Path):
    root = mini.make("folder", tmp_path)
    train = require_split("folder", root, "train")
    assert {path.suffix for path in train.images} == {".jpg", ".png"}
    assert read_classes(root) == (CLASSES, 255)
    label = np.asarray(Image.open(train.labels[0]))
    assert np.array_equal(label, make_scene(0, *label.shape).label)


@pytest.mark.usefixtures("few_images")
def test_a_set_is_made_once(tmp_path: Path):
    root = mini.make("folder", tmp_path)
    before = (root / "classes.txt").stat().st_mtime_ns
    assert mini.make("folder", tmp_path) == root
    assert (root / "classes.txt").stat().st_mtime_ns == before


@pytest.mark.usefixtures("few_images")
def test_a_damaged_set_is_made_anew(tmp_path: Path):
    root = mini.make("folder", tmp_path)
    whole = contents(root)
    (root / "classes.txt").unlink()
    assert contents(mini.make("folder", tmp_path)) == whole
    assert [path.name for path in tmp_path.iterdir()] == [root.name]


@pytest.mark.usefixtures("few_images")
def test_an_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted() -> mini.Files:
        yield "images/train/scene.jpg", b"half"
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setitem(mini._WRITERS, "folder", interrupted)
        mini.make("folder", tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert require_split("folder", mini.make("folder", tmp_path), "val")


def test_processes_at_the_same_time(tmp_path: Path):
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as processes:
        roots = list(processes.map(mini.make, ["folder"] * 2, [tmp_path] * 2))
    assert roots[0] == roots[1] and [path.name for path in tmp_path.iterdir()] == [roots[0].name]
    assert len(require_split("folder", roots[0], "train").images) == 64


def test_default_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DENSEBENCH_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert mini.default_root() == tmp_path / "home/.cache/densebench"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert mini.default_root() == tmp_path / "xdg/densebench"
    monkeypatch.setenv("DENSEBENCH_CACHE", str(tmp_path / "own"))
    assert mini.default_root() == tmp_path / "own"


@pytest.mark.usefixtures("few_images")
def test_default_root_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DENSEBENCH_CACHE", str(tmp_path))
    assert mini.make("folder").parent == tmp_path


def test_a_cache_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DensebenchError, match=r"cannot be written to .*file(.|\n)*DENSEBENCH_CACHE"):
        mini.make("folder", tmp_path / "file")


def test_an_unknown_layout(tmp_path: Path):
    with pytest.raises(DensebenchError, match="no miniature in the layout 'voc'; there are: ade20k, folder"):
        mini.make("voc", tmp_path)

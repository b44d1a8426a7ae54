import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import Compose
from mmengine.registry import TRANSFORMS
from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs
from mmseg.registry import TRANSFORMS as MMSEG_TRANSFORMS
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from densebench.data.loading import LoadCheckedImage, LoadCheckedLabels, label_table
from densebench.errors import DensebenchError, original_text

HEIGHT, WIDTH = 20, 30


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(0))


@pytest.fixture
def results(tmp_path: Path, rng: np.random.Generator) -> dict[str, Any]:
    """An image, and a label map of values 0..150."""
    Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(tmp_path / "image.jpg")
    save_label(tmp_path / "label.png", rng.integers(0, 151, (HEIGHT, WIDTH)))
    return entry(tmp_path / "image.jpg", tmp_path / "label.png", reduce_zero_label=True)


def entry(image: Path, label: Path, reduce_zero_label: bool = False) -> dict[str, Any]:
    return {
        "img_path": str(image),
        "seg_map_path": str(label),
        "label_map": None,
        "reduce_zero_label": reduce_zero_label,
        "seg_fields": [],
    }


def save_label(path: Path, values: np.ndarray) -> None:
    Image.fromarray(values.astype(np.uint8)).save(path)


def load(results: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    return Compose([LoadCheckedImage(), LoadCheckedLabels(**arguments)])({**results, "seg_fields": []})


def load_as_mmseg(results: dict[str, Any]) -> dict[str, Any]:
    return Compose([LoadImageFromFile(), LoadAnnotations()])({**results, "seg_fields": []})


def assert_equal_results(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert ours.keys() == theirs.keys()
    for key in ours:
        if isinstance(ours[key], np.ndarray):
            assert ours[key].dtype == theirs[key].dtype and np.array_equal(ours[key], theirs[key])
            assert ours[key].flags.c_contiguous == theirs[key].flags.c_contiguous and ours[key].flags.writeable
        else:
            assert ours[key] == theirs[key]


def test_registered_for_every_scope():
    for name in ("LoadCheckedImage", "LoadCheckedLabels"):
        assert TRANSFORMS.get(name).__name__ == name
        assert name not in MMSEG_TRANSFORMS.module_dict


def test_like_mmseg_with_zero_unlabelled(results: dict[str, Any], rng: np.random.Generator):
    values = rng.integers(0, 151, (HEIGHT, WIDTH))
    values[0, :3] = 255
    save_label(Path(results["seg_map_path"]), values)
    ours = load(results, num_classes=150)
    assert_equal_results(ours, load_as_mmseg(results))
    assert np.array_equal(ours["gt_seg_map"], np.where((values == 0) | (values == 255), 255, values - 1))


def test_like_mmseg_with_plain_indices(results: dict[str, Any]):
    plain = {**results, "reduce_zero_label": False}
    assert_equal_results(load(plain, num_classes=151), load_as_mmseg(plain))


@pytest.mark.parametrize("reduce_zero_label", [False, True])
def test_like_mmseg_with_a_label_map(results: dict[str, Any], reduce_zero_label: bool):
    """Two classes of 151 are kept, as when mmseg is given a subset of the class names."""
    kept = dict.fromkeys(range(151), 255) | {7: 0, 3: 1}
    mapped = {**results, "reduce_zero_label": reduce_zero_label, "label_map": kept}
    assert_equal_results(load(mapped, num_classes=2), load_as_mmseg(mapped))


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        (".png", "RGB"),
        (".png", "L"),
        (".png", "RGBA"),
        (".png", "P"),
        (".jpeg", "RGB"),
        (".jpeg", "L"),
        (".bmp", "RGB"),
    ],
)
def test_images_of_other_kinds_like_mmcv(tmp_path: Path, rng: np.random.Generator, suffix: str, mode: str):
    path = tmp_path / f"image{suffix}"
    Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).convert(mode).save(path)
    for options in ({}, {"to_float32": True}, {"imdecode_backend": "pillow"}):
        ours = LoadCheckedImage(**options)({"img_path": str(path)})
        assert_equal_results(ours, LoadImageFromFile(**options)({"img_path": str(path)}))


def test_palette_and_one_bit_labels(results: dict[str, Any], tmp_path: Path):
    values = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 2
    plain = {**results, "reduce_zero_label": False, "seg_map_path": str(tmp_path / "mask.png")}
    palette = Image.fromarray(values.astype(np.uint8)).convert("P")
    palette.putpalette([0, 0, 0, 200, 10, 10])
    for picture in (palette, Image.fromarray(values.astype(np.bool_))):
        picture.save(plain["seg_map_path"])
        loaded = load(plain, num_classes=2)["gt_seg_map"]
        assert loaded.dtype == np.uint8
        assert np.array_equal(loaded, load_as_mmseg(plain)["gt_seg_map"])


def test_packs_for_the_model(results: dict[str, Any]):
    packed = PackSegInputs()(load(results, num_classes=150))
    assert packed["inputs"].shape == (3, HEIGHT, WIDTH)
    assert packed["data_samples"].gt_sem_seg.data.shape == (1, HEIGHT, WIDTH)


def test_ignore_index_becomes_255(results: dict[str, Any]):
    values = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 12
    save_label(Path(results["seg_map_path"]), values)
    loaded = load({**results, "reduce_zero_label": False}, num_classes=11, ignore_index=11)["gt_seg_map"]
    assert np.array_equal(loaded, np.where(values == 11, 255, values))


def test_label_table():
    table = label_table(3, 255, False, None)
    assert table[[0, 1, 2, 255]].tolist() == [0, 1, 2, 255] and (table[3:255] == -1).all()
    table = label_table(3, 255, True, None)
    assert table[[0, 1, 2, 3, 255]].tolist() == [255, 0, 1, 2, 255] and (table[4:255] == -1).all()
    assert label_table(255, 255, False, None).tolist() == list(range(256))


@pytest.mark.parametrize(("num_classes", "ignore_index"), [(0, 255), (256, 255), (19, -1), (19, 256)])
def test_impossible_arguments(num_classes: int, ignore_index: int):
    with pytest.raises(ValueError, match="num_classes"):
        LoadCheckedLabels(num_classes=num_classes, ignore_index=ignore_index)


@pytest.mark.parametrize("key", ["img_path", "seg_map_path"])
@pytest.mark.parametrize("damage", ["empty", "cut", "text", "missing"])
def test_a_file_that_does_not_decode_is_named(results: dict[str, Any], key: str, damage: str):
    path = Path(results[key])
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "text": b"no picture" * 40}[damage])
    with pytest.raises(DensebenchError, match=f"{path} (cannot be read|does not exist)"):
        load(results, num_classes=150)


def test_sizes_that_differ(results: dict[str, Any]):
    save_label(Path(results["seg_map_path"]), np.zeros((HEIGHT, WIDTH + 2)))
    with pytest.raises(DensebenchError) as error:
        load(results, num_classes=150)
    text = str(error.value)
    assert "30 x 20  image" in text and "32 x 20  label" in text
    assert results["img_path"] in text and results["seg_map_path"] in text
    assert "EXIF" not in text


def test_an_image_that_exif_turns(results: dict[str, Any]):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.new("RGB", (WIDTH, HEIGHT)).save(results["img_path"], exif=exif)
    with pytest.raises(DensebenchError, match=r"20 x 30  image(.|\n)*EXIF orientation"):
        load(results, num_classes=150)


def test_values_outside_the_classes(results: dict[str, Any]):
    values = np.zeros((HEIGHT, WIDTH))
    values[0, :4], values[1, :2] = 151, 200
    save_label(Path(results["seg_map_path"]), values)
    with pytest.raises(DensebenchError) as error:
        load(results, num_classes=150)
    text = str(error.value)
    assert f"label {results['seg_map_path']} holds values that are no class: 151 (4 pixels), 200 (2 pixels)" in text
    assert "valid: 1..150 for the classes, 0, 255 for unlabelled pixels" in text


def test_values_outside_plain_classes(results: dict[str, Any]):
    save_label(Path(results["seg_map_path"]), np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 24)
    with pytest.raises(DensebenchError) as error:
        load({**results, "reduce_zero_label": False}, num_classes=11, ignore_index=11)
    text = str(error.value)
    assert "12 (25 pixels)" in text and "and 4 more values" in text
    assert "valid: 0..10 for the classes, 11 for unlabelled pixels" in text


def test_a_label_of_16_bits(results: dict[str, Any]):
    values = np.zeros((HEIGHT, WIDTH), np.uint16)
    Image.fromarray(values).save(results["seg_map_path"])
    assert_equal_results(load(results, num_classes=150), load_as_mmseg(results))
    values[3, 4] = 257  # would be 1 in 8 bits
    Image.fromarray(values).save(results["seg_map_path"])
    with pytest.raises(DensebenchError, match=r"257 \(1 pixels\)"):
        load(results, num_classes=150)


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("RGBA", 4), ("LA", 2)])
def test_a_label_in_colour(results: dict[str, Any], mode: str, channels: int):
    Image.new(mode, (WIDTH, HEIGHT)).save(results["seg_map_path"])
    with pytest.raises(DensebenchError, match=f"has {channels} channels; expected one channel of class indices"):
        load(results, num_classes=150)


class BrokenData(Dataset):
    def __init__(self, results: dict[str, Any]) -> None:
        self.results = results

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> dict[str, Any]:
        return load(self.results, num_classes=150)


def test_the_message_survives_a_worker(results: dict[str, Any]):
    save_label(Path(results["seg_map_path"]), np.full((HEIGHT, WIDTH), 151))
    with pytest.raises(DensebenchError) as plain:
        load(results, num_classes=150)
    batches = iter(DataLoader(BrokenData(results), num_workers=1))
    with pytest.raises(DensebenchError) as wrapped:
        next(batches)
    batches._shutdown_workers()  # left to the garbage collector, this takes five seconds
    assert "Traceback" in str(wrapped.value)
    assert original_text(wrapped.value) == str(plain.value)
    assert str(pickle.loads(pickle.dumps(plain.value))) == str(plain.value)

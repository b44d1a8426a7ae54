"""Miniature data sets: synthetic scenes in the folder layout and label encoding of a real data set, no download.

They take the place of the data under --mini and in tests. 3 to 6 MB and some seconds each, made on first use.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from densebench import whole_files
from densebench.data.cityscapes import LABEL_IDS_SUFFIX, TRAIN_IDS_SUFFIX
from densebench.data.classes import CLASSES_FILE
from densebench.data.coco_miniature import CATEGORY_NAMES, instances_json
from densebench.data.layouts import get_layout
from densebench.data.scenes import CLASSES, GENERATOR_VERSION, UNLABELLED, Scene, make_scene
from densebench.errors import DensebenchError

NUM_IMAGES = {"train": 64, "val": 24}

_FIRST_SEED = {"train": 0, "val": 1000}
_JPEG_QUALITY = 95
# Written last, with the number of files: a folder without it, or with fewer files, is made anew.
_MARKER = ".complete"

# Class ids of ADE20K's annotation files: 1 + the index in mmseg.datasets.ADE20KDataset.METAINFO["classes"].
_ADE20K_IDS = {
    "sky": 3,
    "mountain": 17,
    "grass": 10,
    "road": 7,
    "water": 22,
    "building": 2,
    "wall": 1,
    "tree": 5,
    "person": 13,
    "car": 21,
    "boat": 77,
    "ball": 120,
    "clock": 149,
    "box": 42,
    "signboard": 44,
    "flag": 150,
}

# Label ids of cityscapesscripts.helpers.labels; what has no namesake there is of classes that are not evaluated.
_CITYSCAPES_IDS = {
    "sky": 23,
    "mountain": 4,  # static
    "grass": 22,  # terrain
    "road": 7,
    "water": 6,  # ground
    "building": 11,
    "wall": 12,
    "tree": 21,  # vegetation
    "person": 24,
    "car": 26,
    "boat": 5,  # dynamic
    "ball": 5,
    "clock": 4,
    "box": 4,
    "signboard": 20,  # traffic sign
    "flag": 4,
}
_CITYSCAPES_SIZE = (112, 224)  # all images have one size, twice as wide as high, as 1024 x 2048

Files = Iterator[tuple[str, bytes]]


def make(layout: str, root: Path | None = None) -> Path:
    """The data root of the miniature in that layout, made under `root` where it is not there yet.

    `root` is the folder that holds all miniatures; without it the cache folder of the user is taken (default_root).
    Processes may call this at the same time, and may be killed: a set appears under its name only when it is whole.
    Raises DensebenchError where the layout has no miniature or the folder cannot be written.
    """
    if layout not in _WRITERS:
        raise DensebenchError(f"no miniature in the layout {layout!r}; there are: {', '.join(_WRITERS)}")
    folder = default_root() if root is None else Path(root)
    target = folder / f"mini-{layout}-v{GENERATOR_VERSION}"
    try:
        if not _is_complete(target):
            _build(target, _WRITERS[layout]())
    except OSError as error:
        raise DensebenchError(
            f"the miniature data set cannot be written to {target}: {error}\n"
            "it needs up to 6 MB; set DENSEBENCH_CACHE to a folder that can be written"
        ) from error
    return target


def write(layout: str, target: Path) -> None:
    """The miniature in that layout, written as the data root `target`; one that is there already stays.

    Raises DensebenchError where the layout has no miniature, `target` holds anything else, or cannot be written.
    """
    if layout not in _WRITERS:
        raise DensebenchError(f"no miniature in the layout {layout!r}; there are: {', '.join(_WRITERS)}")
    try:
        if _is_complete(target):
            return
        if target.exists() and not (target.is_dir() and not any(target.iterdir())):
            raise DensebenchError(f"{target} is there and is no empty folder; name another for the miniature")
        _build(target, _WRITERS[layout]())
    except OSError as error:
        raise DensebenchError(f"the miniature data set cannot be written to {target}: {error}") from error


def default_root() -> Path:
    """$DENSEBENCH_CACHE, else $XDG_CACHE_HOME/densebench, else ~/.cache/densebench."""
    try:
        if os.environ.get("DENSEBENCH_CACHE"):
            return Path(os.environ["DENSEBENCH_CACHE"]).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "densebench"
    except RuntimeError as error:
        raise DensebenchError("there is no home folder for the cache; set DENSEBENCH_CACHE to a folder") from error


def is_generated(root: Path) -> bool:
    """Whether a data root is a whole miniature that was made here."""
    return _is_complete(root)


def _is_complete(folder: Path) -> bool:
    marker = folder / _MARKER
    return marker.is_file() and marker.read_text() == str(_count_files(folder) - 1)


def _count_files(folder: Path) -> int:
    """Files as they were written here: Cityscapes' training labels come later, as in the real data set."""
    return sum(
        path.is_file() and not path.name.endswith((TRAIN_IDS_SUFFIX, whole_files.SUFFIX)) for path in folder.rglob("*")
    )


def _build(target: Path, files: Files) -> None:
    """Write the files into a folder beside the target, then give it its name in one step."""
    temporary = target.with_name(f".{target.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        for name, content in files:
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (temporary / _MARKER).write_text(str(_count_files(temporary)))
        _publish(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _publish(temporary: Path, target: Path) -> None:
    try:
        temporary.rename(target)
    except OSError:
        if _is_complete(target):  # another process was faster
            return
        if not target.is_dir():
            raise
        damaged = temporary.with_name(f"{temporary.name}-damaged")
        target.rename(damaged)
        temporary.rename(target)
        shutil.rmtree(damaged, ignore_errors=True)


def _ade20k_files() -> Files:
    """Relative name and content of each file, encoded as in ADEChallengeData2016."""
    layout = get_layout("ade20k")
    ids = np.zeros(UNLABELLED + 1, np.uint8)
    ids[: len(CLASSES)] = [_ADE20K_IDS[name] for name in CLASSES]
    for split in NUM_IMAGES:
        for index, scene in enumerate(_scenes(split)):
            name = f"ADE_{split}_{index + 1:08d}"
            yield f"{layout.image_folders[split]}/{name}.jpg", _encode(scene.image, "JPEG")
            yield f"{layout.label_folders[split]}/{name}.png", _encode(ids[scene.label], "PNG")


def _folder_files() -> Files:
    """Relative name and content of each file; every eighth image is a PNG, to keep the mix of suffixes alive."""
    layout = get_layout("folder")
    for split in NUM_IMAGES:
        for index, scene in enumerate(_scenes(split)):
            name = f"scene_{split}_{index:04d}"
            suffix, image_format = (".png", "PNG") if index % 8 == 7 else (".jpg", "JPEG")
            yield f"{layout.image_folders[split]}/{name}{suffix}", _encode(scene.image, image_format)
            yield f"{layout.label_folders[split]}/{name}.png", _encode(scene.label, "PNG")
    yield CLASSES_FILE, "\n".join([*CLASSES, f"ignore {UNLABELLED}", ""]).encode()


def _cityscapes_files() -> Files:
    """Relative name and content of each file as gtFine_trainvaltest.zip has it: with label ids, without train ids."""
    layout = get_layout("cityscapes")
    ids = np.zeros(UNLABELLED + 1, np.uint8)
    ids[: len(CLASSES)] = [_CITYSCAPES_IDS[name] for name in CLASSES]
    for split in NUM_IMAGES:
        for index in range(NUM_IMAGES[split]):
            scene = make_scene(_FIRST_SEED[split] + index, *_CITYSCAPES_SIZE)
            city = ("firsttown", "secondtown")[index % 2]
            name = f"{city}/{city}_{index:06d}_000019"
            yield f"{layout.image_folders[split]}/{name}{layout.image_suffixes[0]}", _encode(scene.image, "PNG")
            yield f"{layout.label_folders[split]}/{name}{LABEL_IDS_SUFFIX}", _encode(ids[scene.label], "PNG")


def _coco_files() -> Files:
    """Relative name and content of each file as COCO 2017 has them."""
    for split in NUM_IMAGES:
        scenes = {index + 1: scene for index, scene in enumerate(_scenes(split))}
        for image_id, scene in scenes.items():
            yield f"{split}2017/{image_id:012d}.jpg", _encode(scene.image, "JPEG")
        yield f"annotations/instances_{split}2017.json", json.dumps(instances_json(scenes)).encode()


def _coco_folder_files() -> Files:
    """Relative name and content of each file of one's own data in COCO's format, with the 8 categories that occur."""
    for split in NUM_IMAGES:
        scenes = {index + 1: scene for index, scene in enumerate(_scenes(split))}
        for image_id, scene in scenes.items():
            yield f"{split}/{image_id:012d}.jpg", _encode(scene.image, "JPEG")
        content = instances_json(scenes)
        content["categories"] = [entry for entry in content["categories"] if entry["name"] in CATEGORY_NAMES]
        yield f"annotations/{split}.json", json.dumps(content).encode()


def _scenes(split: str) -> Iterator[Scene]:
    for index in range(NUM_IMAGES[split]):
        yield make_scene(_FIRST_SEED[split] + index, *_size(index))


def _size(index: int) -> tuple[int, int]:
    """Height and width: short side of 128..160 pixels, aspect ratio of 1 to 4/3, every fifth image upright."""
    short = 128 + index * 37 % 33
    long = short + index * 29 % (short // 3 + 1)
    return (long, short) if index % 5 == 4 else (short, long)


def _encode(pixels: npt.NDArray[np.uint8], image_format: str) -> bytes:
    """(H, W) or (H, W, 3) RGB -> the bytes of a file."""
    buffer = io.BytesIO()
    options = {"quality": _JPEG_QUALITY, "subsampling": 0} if image_format == "JPEG" else {}
    Image.fromarray(pixels).save(buffer, image_format, **options)
    return buffer.getvalue()


# A layout is added by its function here; the names are those of densebench.data.layouts.
_WRITERS: dict[str, Callable[[], Files]] = {
    "ade20k": _ade20k_files,
    "folder": _folder_files,
    "cityscapes": _cityscapes_files,
    "coco": _coco_files,
    "coco_folder": _coco_folder_files,
}

"""Where the data sets with one label picture per image keep their files, and how to get them."""

from __future__ import annotations

from dataclasses import dataclass

from densebench.errors import DensebenchError

# Images of the official splits.
OFFICIAL_SIZES = {
    "ade20k": {"train": 20210, "val": 2000},
    "cityscapes": {"train": 2975, "val": 500},
    "coco": {"train": 118287, "val": 5000},
}


@dataclass(frozen=True)
class Layout:
    """Folders are relative to the data root; an image and its label have the same file name but for the suffix.

    `sub_folders` says that both lie in folders of the same name below those (the cities of Cityscapes).
    """

    name: str
    image_folders: dict[str, str]
    label_folders: dict[str, str]
    image_suffixes: tuple[str, ...]
    label_suffix: str
    tree: str
    how_to_get: str
    sub_folders: bool = False


_ADE20K = Layout(
    name="ade20k",
    image_folders={"train": "images/training", "val": "images/validation"},
    label_folders={"train": "annotations/training", "val": "annotations/validation"},
    image_suffixes=(".jpg",),
    label_suffix=".png",
    tree="""\
images/training/ADE_train_00000001.jpg ...         20210 images
images/validation/ADE_val_00000001.jpg ...         2000 images
annotations/training/ADE_train_00000001.png ...    one channel, 8 bit: 0 unlabelled, 1..150 the classes
annotations/validation/ADE_val_00000001.png ...""",
    how_to_get="""\
accept the terms of the MIT Scene Parsing Benchmark (http://sceneparsing.csail.mit.edu), download
http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip and unpack it, best with
tools/prepare_data.py ade20k FOLDER; the data root is the unpacked folder ADEChallengeData2016""",
)
_FOLDER = Layout(
    name="folder",
    image_folders={"train": "images/train", "val": "images/val"},
    label_folders={"train": "labels/train", "val": "labels/val"},
    image_suffixes=(".jpg", ".jpeg", ".png"),
    label_suffix=".png",
    tree="""\
images/train/NAME.jpg ...    .jpg, .jpeg or .png, in any mix
images/val/NAME.jpg ...
labels/train/NAME.png ...    one channel, 8 bit: the class index, or the ignore value where unlabelled
labels/val/NAME.png ...
classes.txt                  one class name a line, in the order of the indices; optionally `ignore 255`""",
    how_to_get="put your own images and labels there",
)
_CITYSCAPES = Layout(
    name="cityscapes",
    image_folders={"train": "leftImg8bit/train", "val": "leftImg8bit/val"},
    label_folders={"train": "gtFine/train", "val": "gtFine/val"},
    image_suffixes=("_leftImg8bit.png",),
    label_suffix="_gtFine_labelTrainIds.png",
    sub_folders=True,
    tree="""\
leftImg8bit/train/CITY/CITY_000000_000019_leftImg8bit.png ...    2975 images
leftImg8bit/val/CITY/CITY_000000_000019_leftImg8bit.png ...      500 images
gtFine/train/CITY/CITY_000000_000019_gtFine_labelIds.png ...     one channel, 8 bit: the ids 0..33; made from them
gtFine/val/CITY/CITY_000000_000019_gtFine_labelIds.png ...       where missing: ..._gtFine_labelTrainIds.png, 0..18""",
    how_to_get="""\
register at https://www.cityscapes-dataset.com, accept the terms, download leftImg8bit_trainvaltest.zip (11 GB) and
gtFine_trainvaltest.zip (241 MB) into one folder, and unpack them with tools/prepare_data.py cityscapes FOLDER""",
)
LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (_ADE20K, _FOLDER, _CITYSCAPES)}


def get_layout(name: str) -> Layout:
    """The layout of that name; an unknown name is an error that lists the known ones."""
    if name not in LAYOUTS:
        raise DensebenchError(f"unknown data set layout {name!r}; known: {', '.join(LAYOUTS)}")
    return LAYOUTS[name]

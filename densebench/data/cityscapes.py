"""Cityscapes' two encodings of its labels: the ids 0..33 of the files, and the 19 training classes among them.

The table is that of the official scripts (cityscapesscripts.helpers.labels).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from cityscapesscripts.helpers.labels import labels as official_labels
from PIL import Image

from densebench.data.check import list_names
from densebench.data.layouts import get_layout
from densebench.errors import DensebenchError
from densebench.whole_files import written_whole

LABEL_IDS_SUFFIX = "_gtFine_labelIds.png"
TRAIN_IDS_SUFFIX = "_gtFine_labelTrainIds.png"
IGNORED_TRAIN_ID = 255

_INVALID = 254  # no train id


def train_id_of_label_id() -> npt.NDArray[np.uint8]:
    """(256,): label id in a file -> 0..18 or 255 (ignored), and 254 where the value is no label id."""
    table = np.full(256, _INVALID, np.uint8)
    for label in official_labels:
        if label.id >= 0:  # the licence plate, -1, is never drawn
            table[label.id] = label.trainId
    return table


def label_id_of_train_id() -> npt.NDArray[np.uint8]:
    """(19,): training class -> label id, the encoding that the official evaluation takes."""
    pairs = {label.trainId: label.id for label in official_labels if not label.ignoreInEval}
    return np.array([pairs[train_id] for train_id in sorted(pairs)], np.uint8)


def write_missing_train_ids(root: Path) -> int:
    """Write the labelTrainIds file beside each labelIds file that has none, and return how many were written.

    Where the folders are missing nothing is done: `require_split` says so. Processes may call this at the same time,
    and may be killed: a file appears under its name only when it is whole.

    Raises:
        DensebenchError: a labelIds file does not decode or holds other values, or the folder cannot be written.
    """
    written = 0
    for folder in (root / name for name in get_layout("cityscapes").label_folders.values()):
        if not folder.is_dir():
            continue
        names = list_names(folder, sub_folders=True)
        present = set(names)
        for name in names:
            target = name.removesuffix(LABEL_IDS_SUFFIX) + TRAIN_IDS_SUFFIX
            if name.endswith(LABEL_IDS_SUFFIX) and target not in present:
                _write(folder / target, train_ids(folder / name))
                written += 1
    return written


def train_ids(path: Path) -> npt.NDArray[np.uint8]:
    """(H, W) training classes, and 255 where ignored, of a labelIds file.

    Raises:
        DensebenchError: it does not decode, has several channels, or holds values that are no label id.
    """
    try:
        with Image.open(path) as picture:
            label_ids = np.asarray(picture)
    except (OSError, SyntaxError, ValueError) as error:
        raise DensebenchError(f"label {path} cannot be read: {error}\nunpack gtFine_trainvaltest.zip again") from error
    if label_ids.ndim != 2 or label_ids.dtype != np.uint8:
        raise DensebenchError(f"label {path} is {label_ids.dtype} {label_ids.shape}; expected one channel of 8 bits")
    found = train_id_of_label_id()[label_ids]
    if (found == _INVALID).any():
        values = ", ".join(map(str, np.unique(label_ids[found == _INVALID])[:8]))
        raise DensebenchError(
            f"label {path} holds values that are no Cityscapes label id: {values}\n"
            f"valid: 0..{max(label.id for label in official_labels)}; unpack gtFine_trainvaltest.zip again"
        )
    return found


def _write(target: Path, pixels: npt.NDArray[np.uint8]) -> None:
    try:
        with written_whole(target) as temporary:
            Image.fromarray(pixels).save(temporary, "PNG")
    except OSError as error:
        raise DensebenchError(
            f"{target} is missing and cannot be written: {error}\n"
            f"the training labels are made beside the labelIds files: make {target.parent} writable for one run, or "
            "run the official script csCreateTrainIdLabelImgs where it is writable"
        ) from error

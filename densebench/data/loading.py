"""Loading of images and label maps that says which file is wrong, and how.

The transforms give what mmcv's LoadImageFromFile and mmseg's LoadAnnotations give on good files. Broken files,
sizes that differ and label values outside the classes otherwise end in an assertion without a file name, in a
shape error far downstream or, on a GPU, in a failed kernel.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import cv2
import mmcv
import numpy as np
import numpy.typing as npt
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio
from mmengine.registry import TRANSFORMS
from mmseg.datasets.transforms import LoadAnnotations

from densebench.errors import DensebenchError

TRAINING_IGNORE_INDEX = 255

_INVALID = -1
_SHOWN_VALUES = 8
_DECODE_ERRORS = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, cv2.error)


@TRANSFORMS.register_module()
class LoadCheckedImage(LoadImageFromFile):
    """Adds `img` (H, W, 3) uint8 BGR, `img_shape` and `ori_shape` from `img_path`.

    Raises DensebenchError where the file is missing, does not decode, or has another size than is listed for it.
    """

    def __init__(
        self,
        to_float32: bool = False,
        color_type: str = "color",
        imdecode_backend: str = "cv2",
        backend_args: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            to_float32=to_float32,
            color_type=color_type,
            imdecode_backend=imdecode_backend,
            backend_args=backend_args,
        )

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Read and decode one image."""
        image = _decode("image", results["img_path"], self.color_type, self.imdecode_backend, self.backend_args)
        listed = results.get("height"), results.get("width")  # of COCO's annotation files
        if None not in listed and listed != image.shape[:2]:
            raise DensebenchError(
                f"image {results['img_path']} is {image.shape[1]} x {image.shape[0]} pixels (width x height), but its "
                f"annotation file says {listed[1]} x {listed[0]}, which the boxes are drawn for\n"
                "take the image that was annotated; an EXIF orientation turns it: save it turned, without the tag"
            )
        results["img"] = image.astype(np.float32) if self.to_float32 else image
        results["img_shape"] = results["ori_shape"] = image.shape[:2]
        return results


@TRANSFORMS.register_module()
class LoadCheckedLabels(LoadAnnotations):
    """Adds `gt_seg_map` (H, W) uint8 from `seg_map_path`: class indices, and 255 where unlabelled.

    `num_classes` is the number of classes of the model. `ignore_index` is the value that means unlabelled in the
    label files. The data set's `reduce_zero_label` (0 unlabelled, 1..N the classes) and `label_map` are applied as
    mmseg does; whatever a label map lists is valid. Where an image was loaded before, the sizes must agree.

    Raises DensebenchError where the file is missing, does not decode, is no single-channel picture, differs in size
    from the image, or holds values that are neither a class nor unlabelled.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_index: int = TRAINING_IGNORE_INDEX,
        backend_args: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(backend_args=backend_args)
        if not 1 <= num_classes <= 255 or not 0 <= ignore_index <= 255:
            raise ValueError(f"num_classes {num_classes} not in 1..255 or ignore_index {ignore_index} not in 0..255")
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def _load_seg_map(self, results: dict[str, Any]) -> None:
        path = results["seg_map_path"]
        label = _decode("label", path, "unchanged", "pillow", self.backend_args)
        if label.ndim != 2:
            raise DensebenchError(
                f"label {path} has {label.shape[-1]} channels; expected one channel of class indices\n"
                "save it as an 8-bit grey or palette PNG whose pixel values are the class indices"
            )
        if "ori_shape" in results:
            _check_size(results["img_path"], results["ori_shape"], path, label.shape)
        self.reduce_zero_label = results["reduce_zero_label"]
        table = label_table(self.num_classes, self.ignore_index, self.reduce_zero_label, results.get("label_map"))
        if label.dtype == np.bool_:
            label = label.astype(np.uint8)
        _check_values(path, label, table)
        results["gt_seg_map"] = cv2.LUT(label.astype(np.uint8, copy=False), table.astype(np.uint8))
        results["seg_fields"].append("gt_seg_map")

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(num_classes={self.num_classes}, ignore_index={self.ignore_index}, "
            f"backend_args={self.backend_args})"
        )


def label_table(
    num_classes: int, ignore_index: int, reduce_zero_label: bool, label_map: dict[int, int] | None
) -> npt.NDArray[np.int16]:
    """(256,): value in a label file -> value for training, -1 where it is not valid."""
    table = np.full(256, _INVALID, np.int16)
    first = 1 if reduce_zero_label else 0
    table[first : first + num_classes] = np.arange(num_classes)
    for old, new in (label_map or {}).items():
        table[first + old] = new
    table[ignore_index] = TRAINING_IGNORE_INDEX
    if reduce_zero_label:
        table[[0, 255]] = TRAINING_IGNORE_INDEX
    return table


def _decode(kind: str, path: str, flag: str, backend: str, backend_args: dict[str, Any] | None) -> npt.NDArray[Any]:
    try:
        image = mmcv.imfrombytes(fileio.get(path, backend_args=backend_args), flag=flag, backend=backend)
    except FileNotFoundError as error:
        raise DensebenchError(f"{kind} {path} does not exist") from error
    except _DECODE_ERRORS as error:
        raise DensebenchError(_undecodable_text(kind, path, str(error))) from error
    if image is None:
        raise DensebenchError(_undecodable_text(kind, path, "broken, cut off or no picture"))
    return np.asarray(image)


def _undecodable_text(kind: str, path: str, reason: str) -> str:
    return f"{kind} {path} cannot be read: {reason}\ncopy or download the file again, or take it out of the data set"


def _check_size(image_path: str, image_shape: tuple[int, int], label_path: str, label_shape: tuple[int, ...]) -> None:
    """Shapes are (height, width)."""
    if tuple(image_shape) == tuple(label_shape):
        return
    advice = "give both the same size (labels are resized with nearest neighbour, never interpolated)"
    if tuple(image_shape) == tuple(reversed(label_shape)):
        advice = "the image may carry an EXIF orientation that turns it: save it turned, without the tag"
    raise DensebenchError(
        f"an image and its label differ in size (width x height):\n"
        f"  {image_shape[1]} x {image_shape[0]}  image {image_path}\n"
        f"  {label_shape[1]} x {label_shape[0]}  label {label_path}\n{advice}"
    )


def _check_values(path: str, label: npt.NDArray[Any], table: npt.NDArray[np.int16]) -> None:
    if label.dtype == np.uint8:
        # 0.05 ms for 512 x 683, an eighth of np.bincount; np.unique takes far longer
        found = np.flatnonzero(cv2.calcHist([label], [0], None, [256], [0, 256])).tolist()
    else:
        found = np.unique(label).tolist()
    bad = [value for value in found if value not in range(256) or table[int(value)] == _INVALID]
    if not bad:
        return
    shown = ", ".join(f"{value} ({np.count_nonzero(label == value)} pixels)" for value in bad[:_SHOWN_VALUES])
    more = f" and {len(bad) - _SHOWN_VALUES} more values" if len(bad) > _SHOWN_VALUES else ""
    classes = np.flatnonzero((table != _INVALID) & (table != TRAINING_IGNORE_INDEX))
    unlabelled = ", ".join(str(value) for value in np.flatnonzero(table == TRAINING_IGNORE_INDEX))
    raise DensebenchError(
        f"label {path} holds values that are no class: {shown}{more}\n"
        f"valid: {classes.min()}..{classes.max()} for the classes, {unlabelled} for unlabelled pixels\n"
        "mend the label file, or correct the list of classes and the ignore value"
    )

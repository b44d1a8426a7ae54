"""The image pipelines of the detection recipes."""

from __future__ import annotations

from typing import Any

Transform = dict[str, Any]

# What the detectors and the metric read of an image.
_META_KEYS = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")


def train_pipeline(description: dict[str, Any], with_masks: bool) -> list[Transform]:
    """Flip, then one of: large-scale jitter, where the recipe has a `jitter_size`; any short side of its
    `train_short_range`; one of its `train_short_sides`, in half of the cases after a crop where it has a `crop_size`.
    """
    if description.get("jitter_size"):
        sizes = large_scale_jitter(description["jitter_size"], description["jitter_range"], with_masks)
    elif description.get("train_short_range"):
        long = description["train_long_side"]
        scales = [(short, long) for short in description["train_short_range"]]
        sizes = [{"type": "RandomResize", "scale": scales, "keep_ratio": True}]
    else:
        sizes = resize_or_crop(description)
    return [
        {"type": "LoadCheckedImage"},
        {"type": "LoadAnnotations", "with_bbox": True, "with_mask": with_masks},
        {"type": "RandomFlip", "prob": 0.5},
        *sizes,
        {"type": "PackDetInputs"},
    ]


def resize_or_crop(description: dict[str, Any]) -> list[Transform]:
    """A random short side; with `crop_size`, in half of the cases a random short side, a crop, and another one.

    The augmentation of DETR (sec. 4) as the Swin and ConvNeXt recipes use it. `train_short_sides`,
    `crop_short_sides` and `crop_size` (the smallest and largest side of a crop) are in pixels.
    """
    long = description["train_long_side"]
    resize = _resize(description["train_short_sides"], long)
    if not description["crop_size"]:
        return [resize]
    crop = {
        "type": "RandomCrop",
        "crop_type": "absolute_range",
        "crop_size": tuple(description["crop_size"]),
        "allow_negative_crop": True,
    }
    choices = [[resize], [_resize(description["crop_short_sides"], long), crop, resize]]
    return [{"type": "RandomChoice", "transforms": choices}]


def large_scale_jitter(size: Any, ratio_range: Any, with_masks: bool) -> list[Transform]:
    """An image fitted into `size` (height, width) times a random factor, then cropped to at most `size`.

    "Simple Copy-Paste" (arXiv:2012.07177), sec. 3. The padding to `size` is the model's (see `padding_to`). Boxes are
    drawn anew around what a crop leaves of the masks.
    """
    height, width = size
    return [
        {"type": "RandomResize", "scale": (width, height), "ratio_range": tuple(ratio_range), "keep_ratio": True},
        {
            "type": "RandomCrop",
            "crop_type": "absolute",
            "crop_size": (height, width),
            "recompute_bbox": with_masks,
            "allow_negative_crop": True,
        },
        {"type": "FilterAnnotations", "min_gt_bbox_wh": (1e-2, 1e-2)},
    ]


def padding_to(size: Any, divisor: int, with_masks: bool) -> Transform:
    """Pads the images and masks of a training batch to `size` (height, width), after normalization, with zeros.

    `size` goes up to the next multiple of `divisor`, to which the model pads each batch before: a batch that is larger
    than `size` on one side and smaller on the other would come to sizes of its own, and its masks to none.
    """
    whole = tuple(-(-length // divisor) * divisor for length in size)
    return {"type": "BatchFixedSizePad", "size": whole, "img_pad_value": 0, "pad_mask": with_masks}


def test_pipeline(protocol: dict[str, Any]) -> list[Transform]:
    """One view at `scale`, or all views of a protocol with `scales`; the annotations are read by the metric.

    A scale (long, short) bounds the sides of a view in pixels.
    """
    if "scales" not in protocol:
        return [
            {"type": "LoadCheckedImage"},
            {"type": "Resize", "scale": tuple(protocol["scale"]), "keep_ratio": True},
            {"type": "PackDetInputs", "meta_keys": _META_KEYS},
        ]
    resizes = [{"type": "Resize", "scale": tuple(scale), "keep_ratio": True} for scale in protocol["scales"]]
    flips = [
        {"type": "RandomFlip", "prob": probability, "direction": "horizontal"}
        for probability in ((0.0, 1.0) if protocol["flip"] else (0.0,))
    ]
    packing = {"type": "PackDetInputs", "meta_keys": (*_META_KEYS, "flip", "flip_direction")}
    return [{"type": "LoadCheckedImage"}, {"type": "TestTimeAug", "transforms": [resizes, flips, [packing]]}]


def _resize(short_sides: Any, long_side: int) -> Transform:
    scales = [(short, long_side) for short in short_sides]
    return {"type": "RandomChoiceResize", "scales": scales, "keep_ratio": True}

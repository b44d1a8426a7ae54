"""The image pipelines of the detection recipes."""

from __future__ import annotations

from typing import Any

Transform = dict[str, Any]

# What the detectors and the metric read of an image.
_META_KEYS = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")


def train_pipeline(description: dict[str, Any]) -> list[Transform]:
    """Flip, then one of two: a random short side; or a random short side, a crop, and again a random short side.

    The augmentation of DETR (sec. 4) as the Swin and ConvNeXt recipes use it. `train_short_sides`,
    `crop_short_sides` and `crop_size` (the smallest and largest side of a crop) are in pixels.
    """
    long = description["train_long_side"]
    resize = _resize(description["train_short_sides"], long)
    crop = {
        "type": "RandomCrop",
        "crop_type": "absolute_range",
        "crop_size": tuple(description["crop_size"]),
        "allow_negative_crop": True,
    }
    return [
        {"type": "LoadCheckedImage"},
        {"type": "LoadAnnotations", "with_bbox": True, "with_mask": True},
        {"type": "RandomFlip", "prob": 0.5},
        {
            "type": "RandomChoice",
            "transforms": [[resize], [_resize(description["crop_short_sides"], long), crop, resize]],
        },
        {"type": "PackDetInputs"},
    ]


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

"""The image pipelines of the segmentation recipes: training augmentation, and one pipeline for both test protocols."""

from __future__ import annotations

from typing import Any

Transform = dict[str, Any]


def train_pipeline(config: dict[str, Any], labels: Transform) -> list[Transform]:
    """Random scale, crop without one class above 75 %, flip, colour (the mmseg recipes of ConvNeXt, Swin, RepLKNet)."""
    return [
        {"type": "LoadCheckedImage"},
        labels,
        {
            "type": "RandomResize",
            "scale": config["train_scale"],
            "ratio_range": config["train_ratios"],
            "keep_ratio": True,
        },
        {"type": "RandomCrop", "crop_size": config["crop_size"], "cat_max_ratio": 0.75},
        {"type": "RandomFlip", "prob": 0.5},
        {"type": "PhotoMetricDistortion"},
        {"type": "PackSegInputs"},
    ]


def test_pipeline(protocol: dict[str, Any], labels: Transform) -> list[Transform]:
    """One view, or all views of a multi-scale protocol; labels stay at the original size.

    A ratio multiplies the protocol's scale (as the papers do), not the original image (as mmseg's own pipeline does).
    """
    resizes = [
        {"type": "Resize", "scale": scale_at(protocol, ratio), "keep_ratio": True} for ratio in protocol["ratios"]
    ]
    if len(resizes) == 1 and not protocol["flip"]:
        return [{"type": "LoadCheckedImage"}, *resizes, labels, {"type": "PackSegInputs"}]
    flips = [
        {"type": "RandomFlip", "prob": probability, "direction": "horizontal"}
        for probability in ((0.0, 1.0) if protocol["flip"] else (0.0,))
    ]
    return [
        {"type": "LoadCheckedImage"},
        {"type": "TestTimeAug", "transforms": [resizes, flips, [labels], [{"type": "PackSegInputs"}]]},
    ]


def scale_at(protocol: dict[str, Any], ratio: float) -> tuple[int, int]:
    """The (long, short) bounds of a view in pixels."""
    long, short = protocol["scale"]
    return int(long * ratio), int(short * ratio)

"""A whole test step of a segmentor, and of any model at all scales of its recipe, for their latency."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional

from densebench.tasks import task_of


def segmentation_step(model: nn.Module, images: list[Tensor]) -> Callable[[], list[Any]]:
    """From 8-bit images (3, H, W) in the device's memory to labels at their size."""
    from mmseg.structures import SegDataSample

    height, width = images[0].shape[1:]
    meta = {"img_shape": (height, width), "ori_shape": (height, width), "flip": False}

    def step() -> list[Any]:
        segmentor: Any = model
        samples = [SegDataSample(metainfo=meta) for _ in images]
        found: list[Any] = segmentor.test_step({"inputs": images, "data_samples": samples})
        return found

    return step


def multi_scale_step(
    model: nn.Module, method: str, protocol: Mapping[str, Any], images: list[Tensor]
) -> tuple[Callable[[], list[Any]], int]:
    """The whole multi-scale pass over images, views made beforehand, and the number of views.

    `protocol` is the recipe's `test_ms`, the images are those of the single-scale test.
    """
    wrapper = task_of(method).multi_scale_test("test-ms")
    assert wrapper is not None
    tester: Any = MODELS.get(wrapper["type"])(module=model)
    height, width = images[0].shape[1:]
    views = [
        (size, flip)
        for size in view_sizes((width, height), protocol)
        for flip in ((False, True) if protocol["flip"] else (False,))
    ]
    inputs = [[_view(image, size, flip) for image in images] for size, flip in views]

    def step() -> list[Any]:
        samples = [[_sample(method, (height, width), size, flip) for _ in images] for size, flip in views]
        found: list[Any] = tester.test_step({"inputs": inputs, "data_samples": samples})
        return found

    return step, len(views)


def view_sizes(size: tuple[int, int], protocol: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Width and height of the views of an image of `size`, whose single-scale test has this size.

    A protocol has ratios of that size, or scales (long, short) that bound the sides.
    """
    width, height = size
    if "scales" in protocol:
        factors = [min(long / max(size), short / min(size)) for long, short in protocol["scales"]]
    else:
        factors = list(protocol["ratios"])
    return [(round(width * factor), round(height * factor)) for factor in factors]


def _view(image: Tensor, size: tuple[int, int], flip: bool) -> Tensor:
    resized = functional.interpolate(image[None].float(), size=size[::-1], mode="bilinear")[0].to(torch.uint8)
    return resized.flip(-1) if flip else resized


def _sample(method: str, original: tuple[int, int], size: tuple[int, int], flip: bool) -> Any:
    from mmdet.structures import DetDataSample
    from mmseg.structures import SegDataSample

    meta = {
        "ori_shape": original,
        "img_shape": size[::-1],
        "scale_factor": (size[0] / original[1], size[1] / original[0]),
        "flip": flip,
        "flip_direction": "horizontal" if flip else None,
    }
    kind = SegDataSample if task_of(method).scope == "mmseg" else DetDataSample
    return kind(metainfo=meta)

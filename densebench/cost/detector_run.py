"""A whole test step of a detector with random weights, for its latency and memory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmengine.registry import MODELS
from torch import Tensor, nn


def build_detector(config: dict[str, Any]) -> nn.Module:
    """The detector of a resolved config, in test mode, keeping detections of any score."""
    config = copy.deepcopy(config)
    test_cfg = config["test_cfg"]
    test_cfg.get("rcnn", test_cfg)["score_thr"] = 0.0
    return MODELS.build(config).eval()


def random_images(shape: tuple[int, int], batch_size: int, device: torch.device) -> list[Tensor]:
    """8-bit images (3, H, W) of noise; `shape` is width and height."""
    width, height = shape
    generator = torch.Generator().manual_seed(0)
    size = (batch_size, 3, height, width)
    return list(torch.randint(0, 256, size, generator=generator, dtype=torch.uint8).to(device))


def detection_step(model: nn.Module, images: list[Tensor]) -> Callable[[], list[Any]]:
    """From 8-bit images in the device's memory to the detections, masks as run lengths at the images' size.

    Random weights score all classes alike, about 1 / 81, below any recipe's threshold: nothing would be suppressed and
    no mask predicted. So the threshold is put where each image keeps as many detections as the recipe allows (100),
    with no more candidates than these and their duplicates, as trained detectors have them on full images.
    """
    from mmdet.structures import DetDataSample  # after the operators are in place

    height, width = images[0].shape[1:]
    meta = {"img_shape": (height, width), "ori_shape": (height, width), "scale_factor": (1.0, 1.0)}

    def step() -> list[Any]:
        detector: Any = model
        samples = [DetDataSample(metainfo=meta) for _ in images]
        found: list[Any] = detector.test_step({"inputs": images, "data_samples": samples})
        return found

    scores = [sample.pred_instances.scores for sample in step()]
    kept = [float(image_scores.min()) for image_scores in scores if len(image_scores)]
    head: Any = model.get_submodule("roi_head" if hasattr(model, "roi_head") else "bbox_head")
    # Scores must lie above the threshold.
    head.test_cfg.score_thr = float(np.nextafter(np.float32(min(kept, default=0.0)), np.float32(-1)))
    return step

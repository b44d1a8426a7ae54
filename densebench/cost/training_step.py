"""A training step on random targets, for its peak memory on this device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmengine.registry import OPTIMIZERS, DefaultScope
from mmengine.structures import InstanceData, PixelData
from torch import Tensor, nn

from densebench.cost.count import is_detector
from densebench.cost.training_memory.estimate import largest_training_batch
from densebench.recipe import Recipe

OBJECTS_PER_IMAGE = 7  # of COCO's train2017, on average


def training_step(
    recipe: Recipe,
    model: nn.Module,
    images: int,
    device: torch.device,
    autocast: Callable[[], Any],
    size: tuple[int, int] | None = None,
) -> tuple[Callable[[], object], list[Tensor]]:
    """One step, and what it finds in memory: weights, optimizer states, inputs.

    `size` (width, height) is that of the largest batch of the recipe's training, or another.

    A step is forward, losses, backward and the optimizer's step; the optimizer has its state already.
    """
    width, height = size or largest_training_batch(recipe.description)
    optimizer = _optimizer(recipe, model)
    inputs = torch.randn(images, 3, height, width, generator=torch.Generator().manual_seed(0)).to(device)
    make = _detection_sample if is_detector(model) else _segmentation_sample
    classes = int(recipe.description["num_classes"])
    samples = [make((height, width), classes, index).to(device) for index in range(images)]
    states = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]

    def step() -> None:
        optimizer.zero_grad()
        trained: Any = model
        with DefaultScope.overwrite_default_scope(recipe.config.default_scope), autocast():
            losses = trained.loss(inputs, samples)
        total, _ = trained.parse_losses(losses)
        total.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step, [*model.parameters(), *model.buffers(), *states, inputs]


def _optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimizer with its state, made by a step on gradients of zero at a learning rate of zero."""
    settings = {**recipe.description["optim_wrapper"]["optimizer"], "lr": 0.0}
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer: torch.optim.Optimizer = OPTIMIZERS.build({**settings, "params": parameters})
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    return optimizer


def _segmentation_sample(size: tuple[int, int], classes: int, seed: int) -> Any:
    from mmseg.structures import SegDataSample

    sample = SegDataSample(metainfo={"img_shape": size})
    generator = torch.Generator().manual_seed(seed)
    sample.gt_sem_seg = PixelData(data=torch.randint(0, classes, (1, *size), generator=generator))
    return sample


def _detection_sample(size: tuple[int, int], classes: int, seed: int) -> Any:
    """Objects that cover an eighth of the image in both directions each."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    height, width = size
    generator = np.random.default_rng(seed)
    corners = generator.uniform(0, 7 / 8, (OBJECTS_PER_IMAGE, 2)) * (width, height)
    boxes = np.concatenate([corners, corners + (width / 8, height / 8)], axis=1)  # (objects, 4): x1, y1, x2, y2
    masks = np.zeros((OBJECTS_PER_IMAGE, height, width), dtype=np.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int), strict=True):
        mask[top:bottom, left:right] = 1
    meta = {"img_shape": size, "ori_shape": size, "pad_shape": size, "batch_input_shape": size, "scale_factor": (1, 1)}
    sample = DetDataSample(metainfo=meta)
    labels = torch.from_numpy(generator.integers(0, classes, OBJECTS_PER_IMAGE))
    sample.gt_instances = InstanceData(
        bboxes=torch.from_numpy(boxes).float(), labels=labels, masks=BitmapMasks(masks, height, width)
    )
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    return sample

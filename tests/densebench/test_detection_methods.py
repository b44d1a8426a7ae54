"""Cascade Mask R-CNN and FCOS end to end on the miniature: another backbone, one step, a test."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from densebench.engine.training import train
from densebench.evaluation.testing import test as run_test
from densebench.recipe import RunOptions, resolve

NARROW = {
    "model.neck.out_channels": 16,
    "model.rpn_head.in_channels": 16,
    "model.rpn_head.feat_channels": 16,
    "model.roi_head.bbox_roi_extractor.out_channels": 16,
    "model.roi_head.mask_roi_extractor.out_channels": 16,
    "model.roi_head.mask_head.in_channels": 16,
    "model.roi_head.mask_head.conv_out_channels": 16,
    **{
        f"model.roi_head.bbox_head.{stage}.{part}": 16
        for stage in range(3)
        for part in ("in_channels", "conv_out_channels", "fc_out_channels")
    },
    "model.train_cfg.rpn_proposal.nms_pre": 50,
    **{f"model.train_cfg.rcnn.{stage}.sampler.num": 32 for stage in range(3)},
    "model.test_cfg.rpn.nms_pre": 20,
    "model.test_cfg.rpn.max_per_img": 20,
    # Untrained scores are about 1 / 81.
    "model.test_cfg.rcnn.score_thr": 0.001,
    "model.test_cfg.rcnn.max_per_img": 10,
}
NARROW_FCOS = {
    "model.neck.out_channels": 64,
    "model.bbox_head.in_channels": 64,
    "model.bbox_head.feat_channels": 64,
    "model.test_cfg.score_thr": 0.001,
    "model.test_cfg.max_per_img": 10,
}


@pytest.mark.parametrize(
    ("config", "narrow", "kinds"),
    [
        ("cascade_mask_rcnn_replknet_31b_coco", NARROW, {"bbox", "segm"}),
        ("fcos_replknet_31b_coco", NARROW_FCOS, {"bbox"}),
    ],
)
def test_a_step_and_a_test(config: str, narrow: dict[str, Any], kinds: set[str], tmp_path: Path) -> None:
    options = RunOptions(
        config,
        backbone="convnextv2_atto",
        mini=True,
        mini_iters=1,
        work_dir=str(tmp_path),
        cfg_options=narrow,
    )
    checkpoint = train(options).checkpoint
    metrics = run_test(options, str(checkpoint), multi_scale=False, command=[]).metrics
    assert {kind for kind in ("bbox", "segm") if f"{kind}_AP" in metrics} == kinds
    assert all(0 <= metrics[f"{kind}_AP50"] <= 100 for kind in kinds)


def test_large_scale_jitter_pads_to_one_size() -> None:
    from mmengine.dataset import pseudo_collate
    from mmengine.registry import DATASETS, MODELS, DefaultScope

    recipe = resolve(RunOptions("mask_rcnn_convnextv2_base_coco_fcmae", mini=True))
    size = tuple(recipe.description["jitter_size"])
    assert size == (164, 164)  # 1024 x 128 / 800
    with DefaultScope.overwrite_default_scope("mmdet"):
        dataset = DATASETS.build(recipe.config.train_dataloader.dataset)
        preprocessor = MODELS.build(recipe.config.model.data_preprocessor)
    np.random.seed(0)  # of the jitter
    samples = [dataset[index] for index in range(8)]
    shapes = {tuple(sample["inputs"].shape[1:]) for sample in samples}
    assert len(shapes) > 2 and all(max(shape) <= 164 for shape in shapes)
    narrow = [sample for sample in samples if sample["inputs"].shape[1] <= 160 < sample["inputs"].shape[2]]
    assert narrow  # one side is padded beyond the crop to begin with, the other is not
    for part in (samples, narrow):
        check_padding(preprocessor(pseudo_collate(copy.deepcopy(part)), training=True), len(part))


def check_padding(batch: Any, number: int) -> None:
    padded = (192, 192)  # up to the next multiple of 32, which the recipe's own 1024 is
    assert batch["inputs"].shape == (number, 3, *padded)
    for sample in batch["data_samples"]:
        instances = sample.gt_instances
        assert instances.masks.masks.shape[1:] == padded and len(instances.labels) > 0
        # Boxes lie close around what the crop has left of the masks.
        for box, mask in zip(instances.bboxes.tolist(), instances.masks.masks, strict=True):
            rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
            assert box == pytest.approx([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


def test_a_range_of_short_sides() -> None:
    from mmengine.registry import TRANSFORMS, DefaultScope

    pipeline = resolve(RunOptions("mask_rcnn_resnet50_coco", mini=True, pretrained="none")).config
    step = next(step for step in pipeline.train_dataloader.dataset.pipeline if step.type == "RandomResize")
    assert step.scale == [(102, 213), (128, 213)]  # 640 and 800 of 1333, shrunk
    with DefaultScope.overwrite_default_scope("mmdet"):
        resize = TRANSFORMS.build(step)
    found = {min(resize._random_scale()) for _ in range(300)}
    assert found == set(range(102, 129))

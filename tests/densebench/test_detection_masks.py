"""Masks are learned: from targets to the metric, on two images by heart."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from densebench.data.coco import annotation_file
from densebench.evaluation.testing import precision
from densebench.recipe import RunOptions, resolve

STEPS = 130
NARROW = {
    "model.neck.out_channels": 32,
    "model.rpn_head.in_channels": 32,
    "model.rpn_head.feat_channels": 32,
    "model.roi_head.bbox_roi_extractor.out_channels": 32,
    "model.roi_head.mask_roi_extractor.out_channels": 32,
    "model.roi_head.bbox_head.in_channels": 32,
    "model.roi_head.bbox_head.fc_out_channels": 64,
    "model.roi_head.mask_head.in_channels": 32,
    "model.roi_head.mask_head.conv_out_channels": 32,
    "model.train_cfg.rcnn.sampler.num": 64,
    "model.train_cfg.rpn_proposal.nms_pre": 300,
    "model.train_cfg.rpn_proposal.max_per_img": 200,
    "model.test_cfg.rpn.nms_pre": 200,
    "model.test_cfg.rpn.max_per_img": 100,
}


@dataclass(frozen=True)
class Trained:
    """A detector that knows two images by heart, those images, and the metric on them."""

    model: Any
    data: Any
    metric: Any

    def tested(self, amp: bool = False) -> dict[str, float]:
        """The metric's numbers, as a test finds them."""
        self.model.eval()
        with torch.no_grad(), precision(self.model, amp):
            found = self.model(**self.model.data_preprocessor(self.data, training=False), mode="predict")
        self.metric.results.clear()
        self.metric.process(None, [sample.to_dict() for sample in found])
        numbers: dict[str, float] = self.metric.compute_metrics(self.metric.results)
        return numbers


@pytest.fixture(scope="module")
def trained() -> Trained:
    """A narrow Mask R-CNN after a minute of training."""
    from mmengine.dataset import pseudo_collate
    from mmengine.registry import DATASETS, METRICS, MODELS, DefaultScope

    options = RunOptions("mask_rcnn_convnext_t_coco", backbone="convnextv2_atto", mini=True, cfg_options=NARROW)
    recipe = resolve(options)
    settings = recipe.config.train_dataloader.dataset.to_dict()
    settings["pipeline"] = [
        {"type": "LoadCheckedImage"},
        {"type": "LoadAnnotations", "with_bbox": True, "with_mask": True},
        {"type": "Resize", "scale": (213, 128), "keep_ratio": True},
        {"type": "PackDetInputs", "meta_keys": ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")},
    ]
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(recipe.config.model)
        dataset = DATASETS.build(settings)
        metric = METRICS.build(
            {"type": "ExactCoco", "ann_file": str(annotation_file(recipe.dataset.root, "train")), "prefix": ""}
        )
    data = pseudo_collate([dataset[0], dataset[1]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(STEPS):
        losses: dict[str, Any] = model(**model.data_preprocessor(data, training=True), mode="loss")
        total, _ = model.parse_losses(losses)
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10)
        optimizer.step()
    metric.dataset_meta = dataset.metainfo
    return Trained(model, data, metric)


@pytest.mark.slow
def test_masks_of_two_images_are_learned_by_heart(trained: Trained) -> None:
    metrics = trained.tested()
    # Measured: 69 each.
    assert metrics["bbox_AP50"] > 40 and metrics["segm_AP50"] > 40


@pytest.mark.slow
def test_bfloat16_keeps_the_ap(trained: Trained) -> None:
    exact, low = trained.tested(), trained.tested(amp=True)
    for name in ("bbox_AP", "segm_AP", "bbox_AP50", "segm_AP50"):
        print(f"{name}: {exact[name]:.3f} in float32, {low[name]:.3f} in bfloat16")
        assert abs(low[name] - exact[name]) < 3

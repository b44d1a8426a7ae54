"""A detector's whole test step, measured with random weights."""

from dataclasses import replace

import pytest
import torch
from mmengine.registry import DefaultScope

from densebench.cost.detector_run import build_detector, detection_step, random_images
from densebench.cost.latency import LatencyProtocol
from densebench.cost.measure import CostSettings, measure
from densebench.recipe import Recipe, RunOptions, resolve
from tests.densebench.tiny_detector import TINY_MASK_RCNN


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    options = RunOptions("mask_rcnn_convnext_t_coco", mini=True, pretrained="none", cfg_options=TINY_MASK_RCNN)
    return resolve(options, with_data=False)


def test_a_step_ends_with_as_many_detections_as_the_recipe_keeps(recipe: Recipe) -> None:
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = build_detector(recipe.config.model)
    assert recipe.config.model.test_cfg.rcnn.score_thr == 0.05  # the recipe itself is as it was
    images = random_images((96, 64), 2, torch.device("cpu"))
    assert [image.shape for image in images] == [(3, 64, 96)] * 2 and images[0].dtype == torch.uint8
    with torch.inference_mode():
        found = detection_step(model, images)()
    assert 0 < model.roi_head.test_cfg.score_thr < 0.05  # random scores of 81 classes
    assert [len(sample.pred_instances.scores) for sample in found] == [10, 10]
    assert all(mask["size"] == [64, 96] for sample in found for mask in sample.pred_instances.masks)
    assert all((sample.pred_instances.scores > model.roi_head.test_cfg.score_thr).all() for sample in found)


def test_latency_and_memory_of_a_batch(recipe: Recipe) -> None:
    protocol = LatencyProtocol(window=1, max_warmup_runs=2, min_runs=5, max_runs=5)
    small, large = (
        measure(recipe, CostSettings(("latency", "memory"), (96, 64), batch, "cpu", latency=protocol))
        for batch in (1, 3)
    )
    assert large["latency_ms"]["input"] == [96, 64] and large["latency_ms"]["batch_size"] == 3
    assert large["fps"] == pytest.approx(3000 / large["latency_ms"]["median"])
    assert large["peak_memory_mb"] > small["peak_memory_mb"] > 0


def test_all_views_of_the_multi_scale_pass_are_timed(recipe: Recipe) -> None:
    protocol = LatencyProtocol(window=1, max_warmup_runs=1, min_runs=1, max_runs=1)
    description = {**recipe.description, "test_ms": {"scales": ((96, 48), (96, 64)), "flip": True}}
    settings = CostSettings(("latency",), (96, 64), device="cpu", multi_scale=True, latency=protocol)
    latency = measure(replace(recipe, description=description), settings)["latency_ms"]
    assert latency["multi_scale"]["views"] == 4
    assert latency["multi_scale"]["median"] > latency["median"]
    assert set(latency["parts"]) == {"data", "backbone", "neck", "head", "post_processing"}


def test_segmentors_too() -> None:
    options = RunOptions("upernet_convnext_t_ade20k", backbone="timm/resnet18", mini=True, pretrained="none")
    protocol = LatencyProtocol(window=1, max_warmup_runs=1, min_runs=1, max_runs=1)
    resolved = resolve(options, protocol="test-ms", with_data=False)
    description = {**resolved.description, "test_ms": {"ratios": (0.5, 1.0), "flip": True}}
    settings = CostSettings(("latency",), (64, 64), device="cpu", multi_scale=True, latency=protocol)
    latency = measure(replace(resolved, description=description), settings)["latency_ms"]
    assert latency["multi_scale"]["views"] == 4
    assert latency["end_to_end"]["median"] > 0

"""Tasks by method, the parts that detection fills in, and its miniature sizes."""

import shutil
from pathlib import Path

import pytest

from densebench.errors import DensebenchError
from densebench.recipe import CONFIG_FOLDER, Recipe, RunOptions, resolve
from densebench.tasks import TASKS, task_of


def recipe_of(**options: object) -> Recipe:
    return resolve(RunOptions("mask_rcnn_convnext_t_coco", **options))


def test_every_method_has_one_task() -> None:
    methods = [method for task in TASKS for method in task.methods]
    assert len(methods) == len(set(methods))
    assert task_of("upernet").scope == "mmseg" and task_of("mask_rcnn").scope == "mmdet"
    with pytest.raises(DensebenchError, match=r"Unknown method 'unet'; there are: upernet, .*mask_rcnn"):
        task_of("unet")


def test_the_miniature_shrinks_sizes_alike_and_keeps_the_model() -> None:
    recipe = recipe_of(mini=True, mini_iters=36)
    description, config = recipe.description, recipe.config
    assert description["test_ss"]["scale"] == (213, 128) and description["train_long_side"] == 213
    assert description["train_short_sides"][0] == 77 and description["train_short_sides"][-1] == 128
    assert description["crop_size"] == (61, 96) and description["crop_short_sides"] == (64, 80, 96)
    assert description["schedule"]["steps"]["at"] == (27, 33) and "epochs" not in description["schedule"]
    assert config.train_dataloader.sampler.type == "InfiniteSampler" and config.train_dataloader.num_workers == 0
    assert config.train_cfg.max_iters == 36 and recipe.identity.schedule == "36it"
    full = resolve(RunOptions("mask_rcnn_convnext_t_coco", pretrained="none"), with_data=False)
    proposals = config.model.test_cfg.rpn
    assert (proposals.nms_pre, proposals.max_per_img) == (100, 100)
    proposals.update(nms_pre=1000, max_per_img=1000)
    assert config.model == full.config.model


def test_a_whole_run_counts_in_epochs(miniature_cache: object) -> None:
    root = str(recipe_of(mini=True).dataset.root)
    config = recipe_of(data_root=root, images_per_gpu=2).config
    assert config.train_cfg == {"type": "EpochBasedTrainLoop", "max_epochs": 36, "val_interval": 1}
    assert config.default_hooks.checkpoint.by_epoch and config.default_hooks.checkpoint.interval == 1
    assert config.train_dataloader.sampler.type == "DefaultSampler" and "drop_last" not in config.train_dataloader
    assert (config.train_dataloader.batch_size, config.optim_wrapper.accumulative_counts) == (2, 8)
    assert config.param_scheduler[0]["end"] == 500 * 8 + 1 and config.param_scheduler[1]["milestones"] == [27, 33]
    first, second = config.train_dataloader.dataset.pipeline[3].transforms
    assert first[0].scales[0] == (480, 1333) and len(first[0].scales) == 11
    assert [step.type for step in second] == ["RandomChoiceResize", "RandomCrop", "RandomChoiceResize"]
    assert second[0].scales == [(400, 1333), (500, 1333), (600, 1333)] and second[1].crop_size == (384, 600)
    assert config.test_dataloader.dataset.pipeline[1].scale == (1333, 800)


def test_the_views_of_the_multi_scale_protocol(miniature_cache: object) -> None:
    config = resolve(RunOptions("mask_rcnn_convnext_t_coco", mini=True), protocol="test-ms").config
    assert config.tta_model == {"type": "TwoPassMultiScaleDetection"}
    load, views = config.test_dataloader.dataset.pipeline
    resizes, flips, (packing,) = views.transforms
    # Short sides of 400 to 1200, shrunk as 800 is to 128.
    assert [resize.scale for resize in resizes] == [(640, round(short * 0.16)) for short in range(400, 1300, 100)]
    assert [flip.prob for flip in flips] == [0.0, 1.0]
    assert {"flip", "flip_direction", "scale_factor"} < set(packing.meta_keys)
    # Validation during training stays at one scale.
    assert [step.type for step in config.val_dataloader.dataset.pipeline] == [load.type, "Resize", "PackDetInputs"]
    assert "tta_model" not in recipe_of(mini=True).config


def test_a_recipe_without_a_multi_scale_protocol(tmp_path: Path, miniature_cache: object) -> None:
    configs = Path(shutil.copytree(CONFIG_FOLDER, tmp_path / "configs"))
    base = configs / "_base_" / "datasets" / "coco.py"
    base.write_text(base.read_text() + "\ndel test_ms\n")
    options = RunOptions(str(configs / "mask_rcnn_convnext_t_coco.py"), mini=True)
    assert "test_ms" not in resolve(options).description
    with pytest.raises(DensebenchError, match="states no test-ms protocol"):
        resolve(options, protocol="test-ms")


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ("upernet_convnext_t_ade20k", "512x512"),
        ("upernet_convnext_b_ade20k_in22k", "640x640"),
        ("mask_rcnn_convnext_t_coco", "480-800x1333"),
        ("mask_rcnn_resnet50_coco_1x", "800x1333"),
        ("mask_rcnn_resnet50_coco", "640-800x1333"),
        ("fcos_resnet50_coco", "640/800x1333"),
        ("mask_rcnn_convnextv2_base_coco_fcmae", "1024x1024 lsj"),
    ],
)
def test_training_sizes_read_as_in_published_tables(config: str, size: str) -> None:
    assert resolve(RunOptions(config, pretrained="none"), with_data=False).identity.train_size == size

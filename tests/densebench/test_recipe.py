"""Recipes: every published number, derived channels, swapped backbones, miniatures, clear refusals."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import densebench.registration  # noqa: F401
from densebench.errors import DensebenchError
from densebench.recipe import Recipe, RunOptions, find_config, require_writable, resolve


def cost_only(config: str, **options: object) -> Recipe:
    return resolve(RunOptions(config, pretrained="none", **options), with_data=False)


def mini(config: str, **options: object) -> Recipe:
    return resolve(RunOptions(config, mini=True, **options))


@pytest.fixture
def ade20k_root(tmp_path: Path) -> Path:
    """The layout of ADE20K with one file in each folder; enough to resolve a recipe."""
    for kind, suffix in (("images", "jpg"), ("annotations", "png")):
        for split in ("training", "validation"):
            folder = tmp_path / "ade" / kind / split
            folder.mkdir(parents=True)
            (folder / f"ADE_{split}_00000001.{suffix}").touch()
    return tmp_path / "ade"


def test_the_resolved_config_follows_the_description(ade20k_root: Path) -> None:
    """The description's numbers are held against the published row in tests/contract; here they reach the config."""
    recipe = resolve(RunOptions("upernet_convnext_t_ade20k", data_root=str(ade20k_root)))
    config, description = recipe.config, recipe.description
    assert config.optim_wrapper.optimizer == description["optim_wrapper"]["optimizer"]
    assert config.optim_wrapper.paramwise_cfg == description["optim_wrapper"]["paramwise_cfg"]
    assert config.train_dataloader.batch_size * config.optim_wrapper.accumulative_counts == description["total_batch"]
    assert config.train_cfg.max_iters == 160_000 and config.train_cfg.val_interval == 16_000
    crop = description["crop_size"]
    assert crop == config.train_dataloader.dataset.pipeline[3].crop_size == config.model.data_preprocessor.size
    assert config.train_dataloader.dataset.pipeline[2].scale == (2048, 512)
    assert config.model.test_cfg == {"mode": "slide", "crop_size": (512, 512), "stride": (341, 341)}
    assert recipe.starting_weights.name == "in1k" and recipe.identity.schedule == "160k"


def test_multi_scale_views_are_relative_to_the_test_scale(ade20k_root: Path) -> None:
    recipe = resolve(RunOptions("upernet_convnext_t_ade20k", data_root=str(ade20k_root)), protocol="test-ms")
    resizes, flips, _, _ = recipe.config.test_dataloader.dataset.pipeline[1].transforms
    assert [resize.scale for resize in resizes] == [
        (1024, 256),
        (1536, 384),
        (2048, 512),
        (2560, 640),
        (3072, 768),
        (3584, 896),
    ]
    assert [flip.prob for flip in flips] == [0.0, 1.0]
    assert recipe.config.model.test_cfg == {"mode": "whole"}
    # Validation while training stays single-scale.
    assert recipe.config.val_dataloader.dataset.pipeline[1].scale == (2048, 512)


def test_channels_and_classes_are_derived() -> None:
    model = cost_only("upernet_convnext_t_ade20k").config.model
    assert model.decode_head.in_channels == [96, 192, 384, 768] and model.auxiliary_head.in_channels == 384
    assert model.decode_head.num_classes == model.auxiliary_head.num_classes == 150


@pytest.mark.parametrize(
    ("backbone", "channels", "dropped"),
    [
        ("convnext_b", [128, 256, 512, 1024], ()),
        ("convnextv2_atto", [40, 80, 160, 320], ("layer_scale_init_value",)),
        ("timm/resnet18", [64, 128, 256, 512], ("layer_scale_init_value",)),
        ("timm/resnet18.a1_in1k", [64, 128, 256, 512], ("layer_scale_init_value",)),
        ("timm/densenet121", [256, 512, 1024, 1024], ("drop_path_rate", "layer_scale_init_value")),
    ],
)
def test_swapping_the_backbone(backbone: str, channels: list[int], dropped: tuple[str, ...]) -> None:
    recipe = cost_only("upernet_convnext_t_ade20k", backbone=backbone)
    assert recipe.config.model.decode_head.in_channels == channels
    assert recipe.config.model.auxiliary_head.in_channels == channels[2]
    assert recipe.dropped_arguments == dropped
    assert recipe.identity.backbone == backbone
    assert recipe.config.model.backbone.get("drop_path_rate", 0.4) == 0.4  # the recipe stays
    assert recipe.identity.experiment == f"upernet_convnext_t_ade20k_{backbone.replace('/', '_')}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"config": "upernet_convnext_tt_ade20k"}, r"No config .* Near matches: upernet_convnext_t_ade20k"),
        ({"config": "nowhere/recipe.py"}, r"No config 'nowhere/recipe\.py'"),
        ({"config": "upernet_convnext_t_ade20k", "backbone": "convnex_t"}, r"near matches: convnext_t"),
        ({"config": "upernet_convnext_t_ade20k", "backbone": "timm/resnet81"}, r"near matches: timm/resnet18"),
        (
            {"config": "upernet_convnext_t_ade20k", "backbone": "timm/nest_tiny"},
            r"strides \[4, 8, 16\].*Choose a model with four levels",
        ),
        ({"config": "upernet_convnext_t_ade20k", "backbone": "timm/hiera_tiny_224"}, r"hiera_tiny_224.*of any size"),
        (
            {"config": "upernet_convnext_t_ade20k", "cfg_options": {"model.backbone.window": 7}},
            r"'convnext_t' cannot be built: .*window",
        ),
    ],
)
def test_unknown_and_unfit_names(options: dict[str, object], message: str) -> None:
    with pytest.raises(DensebenchError, match=message):
        resolve(RunOptions(pretrained="none", **options), with_data=False)


def test_a_config_that_is_no_recipe(tmp_path: Path) -> None:
    file = tmp_path / "other.py"
    file.write_text("model = dict(type='ResNet')\n")
    with pytest.raises(DensebenchError, match=r"no densebench recipe: it lacks method, dataset"):
        cost_only(str(file))


def test_a_config_that_does_not_parse(tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("model = dict(\n")
    with pytest.raises(DensebenchError, match=r"broken\.py cannot be read"):
        cost_only(str(file))


def test_configs_are_found_by_bare_name() -> None:
    assert find_config("upernet_convnext_t_ade20k").name == "upernet_convnext_t_ade20k.py"
    assert find_config("upernet_timm_resnet18_ade20k").parent.name == "demo"
    assert find_config(str(find_config("upernet_convnext_t_ade20k"))).is_file()


def test_missing_data_says_what_was_expected_and_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(DensebenchError) as error:
        resolve(RunOptions("upernet_convnext_t_ade20k", data_root=str(tmp_path / "nowhere"), pretrained="none"))
    for part in ("nowhere", "images/training", "annotations/validation", "ADEChallengeData2016.zip", "--mini"):
        assert part in str(error.value)
    with pytest.raises(DensebenchError, match="--data-root"):
        resolve(RunOptions("upernet_convnext_t_folder"))


def test_mini_keeps_model_heads_and_optimizer() -> None:
    full, small = cost_only("upernet_convnext_t_ade20k"), mini("upernet_convnext_t_ade20k", mini_iters=7)
    for part in ("backbone", "decode_head", "auxiliary_head"):
        assert small.config.model[part] == full.config.model[part]
    assert small.config.optim_wrapper.optimizer == {
        "type": "AdamW",
        "lr": 1e-4,
        "betas": (0.9, 0.999),
        "weight_decay": 0.05,
    }
    assert small.config.train_cfg.max_iters == 7
    assert small.config.train_dataloader.batch_size == 2 and small.config.train_dataloader.num_workers == 0
    assert small.config.model.data_preprocessor.size == (128, 128)
    assert small.description["test_ss"]["scale"] == (512, 128) and small.description["test_ss"]["stride"] == (85, 85)
    assert small.config.default_hooks.checkpoint.save_optimizer is False
    assert small.identity.experiment == "upernet_convnext_t_ade20k_mini" and small.identity.pretrain == "none"
    assert str(small.work_dir) == "work_dirs/upernet_convnext_t_ade20k_mini"


def test_folder_mini_reads_its_classes() -> None:
    recipe = mini("upernet_convnext_t_folder")
    assert recipe.dataset is not None
    names = [line for line in (recipe.dataset.root / "classes.txt").read_text().splitlines() if "ignore" not in line]
    assert recipe.config.model.decode_head.num_classes == len(names)


def test_batch_and_schedule_under_accumulation(ade20k_root: Path) -> None:
    options = RunOptions("upernet_convnext_t_ade20k", data_root=str(ade20k_root), images_per_gpu=2)
    config = resolve(options).config
    assert (config.train_dataloader.batch_size, config.optim_wrapper.accumulative_counts) == (2, 8)
    assert config.train_cfg.max_iters == 160_000 * 8
    eight = resolve(replace(options, world_size=8)).config
    assert (eight.train_dataloader.batch_size, eight.optim_wrapper.accumulative_counts) == (2, 1)
    with pytest.raises(DensebenchError, match="does not divide"):
        resolve(replace(options, world_size=3))


def test_overrides_reach_description_and_resolved_config(ade20k_root: Path) -> None:
    options = {
        "optim_wrapper.optimizer.lr": 3e-4,
        "schedule.iterations": 40_000,
        "default_hooks.logger.interval": 7,
        "train_dataloader.num_workers": 0,
    }
    root = str(ade20k_root)
    recipe = resolve(RunOptions("upernet_convnext_t_ade20k", data_root=root, cfg_options=options))
    assert recipe.identity.schedule == "40000it"  # no longer the published one
    config = recipe.config
    assert config.optim_wrapper.optimizer.lr == 3e-4
    assert config.train_cfg.max_iters == 40_000 and config.param_scheduler[1]["end"] == 40_001
    assert config.default_hooks.logger.interval == 7 and config.train_dataloader.num_workers == 0


def test_overrides_hold_for_a_miniature_too() -> None:
    options = {"total_batch": 4, "schedule.iterations": 9, "crop_size": (64, 64)}
    recipe = mini("upernet_convnext_t_ade20k", cfg_options=options)
    assert recipe.identity.total_batch == 4 and recipe.config.train_cfg.max_iters == 9
    assert recipe.config.model.data_preprocessor.size == (64, 64)
    assert recipe.description["test_ss"]["scale"] == (512, 128)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"no.such.key": 3}, r"unknown parts: no\.such\.key\. There are: .*total_batch"),
        ({"total_batch": "many"}, r"total_batch=many: a whole number from 1"),
        ({"schedule.iterations": 0}, r"schedule\.iterations=0: a whole number from 1"),
        ({"total_batch.inner": 1}, r"does not fit the recipe"),
    ],
)
def test_overrides_that_do_not_fit(options: dict[str, object], message: str) -> None:
    with pytest.raises(DensebenchError, match=message):
        mini("upernet_convnext_t_ade20k", cfg_options=options)


def test_starting_weights_of_each_kind(ade20k_root: Path, tmp_path: Path) -> None:
    data = {"data_root": str(ade20k_root)}
    by_default = resolve(RunOptions("upernet_convnext_t_ade20k", **data)).starting_weights
    assert by_default.name == "in1k"
    file = tmp_path / "mine.pth"
    from_file = resolve(RunOptions("upernet_convnext_t_ade20k", pretrained=str(file), **data)).starting_weights
    assert from_file.name == "file:mine.pth" and from_file.file == file
    swapped = resolve(RunOptions("upernet_convnext_t_ade20k", backbone="timm/resnet18", **data)).starting_weights
    assert swapped.timm_model == "resnet18" and swapped.name == "timm:a1_in1k"
    with pytest.raises(DensebenchError, match="belong to the backbone that --backbone replaced"):
        resolve(RunOptions("upernet_convnext_t_ade20k", backbone="convnext_s", **data))
    ours = resolve(RunOptions("upernet_convnext_t_ade20k", pretrained="timm", **data)).starting_weights
    assert ours.timm_model == "convnext_tiny" and ours.name.startswith("timm:")
    with pytest.raises(DensebenchError, match="timm has no weights for the backbone 'replknet_3'"):
        resolve(RunOptions("upernet_convnext_t_ade20k", backbone="replknet_3", pretrained="timm", **data))


def test_sync_bn_becomes_bn_without_a_process_group() -> None:
    assert not torch.distributed.is_initialized()
    model = cost_only("upernet_convnext_t_ade20k").config.model
    assert model.decode_head.norm_cfg.type == "BN" and model.auxiliary_head.norm_cfg.type == "BN"


def test_a_work_dir_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DensebenchError, match="cannot be made"):
        require_writable(tmp_path / "file" / "work_dir")


@pytest.mark.parametrize(("cuda", "world_size", "expected"), [(True, 2, "SyncBN"), (True, 1, "BN"), (False, 2, "BN")])
def test_sync_bn_where_several_gpus_are(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, world_size: int, expected: str
) -> None:
    # Not by $WORLD_SIZE, which under SLURM nobody has set yet.
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    options = RunOptions("upernet_convnext_t_ade20k", mini=True, pretrained="none", world_size=world_size)
    assert resolve(options).config.model.decode_head.norm_cfg.type == expected

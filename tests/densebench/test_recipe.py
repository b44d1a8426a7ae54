"""Recipes: every published number, derived channels, swapped backbones, miniatures, clear refusals."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import densebench.registration  # noqa: F401
from densebench.errors import DensebenchError
from densebench.recipe import Recipe, RunOptions, find_config, require_writable, resolve

PUBLISHED_RECIPES = Path(__file__).parent.parent / "contract" / "published_recipes.csv"


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


def test_every_number_of_the_published_row(ade20k_root: Path) -> None:
    with PUBLISHED_RECIPES.open() as file:
        (row,) = [
            row
            for row in csv.DictReader(file)
            if (row["backbone"], row["variant"], row["method"], row["dataset"])
            == ("ConvNeXt", "T", "upernet", "ade20k")
            and row["source"].startswith("facebookresearch/ConvNeXt")
        ]
    recipe = resolve(RunOptions("upernet_convnext_t_ade20k", data_root=str(ade20k_root)))
    config, description = recipe.config, recipe.description
    optimizer, paramwise = config.optim_wrapper.optimizer, config.optim_wrapper.paramwise_cfg

    assert optimizer.type == row["optimizer"]
    assert optimizer.lr == float(row["base_lr"])
    assert optimizer.weight_decay == float(row["weight_decay"])
    assert optimizer.betas == tuple(map(float, row["betas"].split()))
    assert paramwise.decay_rate == float(row["layer_decay_rate"])
    assert paramwise.decay_type == row["layer_decay_type"]
    assert paramwise.num_layers == int(row["num_layers_for_decay"])
    assert paramwise.no_weight_decay == ["one_dimensional", ".grn."]
    assert config.model.backbone.drop_path_rate == float(row["drop_path_rate"])
    assert config.model.backbone.layer_scale_init_value == float(row["layer_scale_init"])
    assert recipe.identity.total_batch == int(row["batch_size_total"])
    assert config.train_dataloader.batch_size * config.optim_wrapper.accumulative_counts == int(row["batch_size_total"])
    assert "160k iters; poly power 1.0; min_lr 0; linear warmup 1500 iters from ratio 1e-6" in row["schedule"]
    assert config.train_cfg.max_iters == 160_000
    assert description["schedule"]["warmup"] == {"iterations": 1500, "ratio": 1e-6}
    assert description["schedule"]["poly"] == {"power": 1.0, "min_lr": 0.0}
    crop = tuple(map(int, row["crop_or_scales"].split("x")))
    assert (
        crop
        == description["crop_size"]
        == config.train_dataloader.dataset.pipeline[3].crop_size
        == config.model.data_preprocessor.size
    )
    assert "FCN auxiliary head on stage 3 output, weight 0.4; UPerHead channels 512" in row["notes"]
    assert config.model.auxiliary_head.in_index == 2 and config.model.auxiliary_head.loss_decode.loss_weight == 0.4
    assert config.model.decode_head.channels == 512
    assert "ss config tests in slide mode with stride 341, ms config tests in whole mode" in row["notes"]
    assert description["test_ss"]["mode"] == "slide" and description["test_ss"]["stride"] == (341, 341)
    assert description["test_ms"]["mode"] == "whole"
    assert description["test_ms"]["ratios"] == (0.5, 0.75, 1.0, 1.25, 1.5, 1.75) and description["test_ms"]["flip"]
    assert description["test_ms"]["scale"] == description["test_ss"]["scale"] == (2048, 512)
    assert recipe.starting_weights.name == row["pretrain"] == "in1k"
    assert recipe.starting_weights.url and recipe.starting_weights.sha256


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
    config = resolve(RunOptions("upernet_convnext_t_ade20k", data_root=root, cfg_options=options)).config
    assert config.optim_wrapper.optimizer.lr == 3e-4
    assert config.train_cfg.max_iters == 40_000 and config.param_scheduler[1]["end"] == 40_001
    assert config.default_hooks.logger.interval == 7 and config.train_dataloader.num_workers == 0


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
    with pytest.raises(DensebenchError, match="Name a timm/ backbone"):
        resolve(RunOptions("upernet_convnext_t_ade20k", pretrained="timm", **data))


def test_sync_bn_becomes_bn_without_a_process_group() -> None:
    assert not torch.distributed.is_initialized()
    model = cost_only("upernet_convnext_t_ade20k").config.model
    assert model.decode_head.norm_cfg.type == "BN" and model.auxiliary_head.norm_cfg.type == "BN"


def test_a_work_dir_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DensebenchError, match="cannot be made"):
        require_writable(tmp_path / "file" / "work_dir")

"""Every published detection recipe in configs/ against its row of published_recipes.csv, and its cost."""

import csv
import itertools
from functools import cache
from pathlib import Path

import pytest
from contract_sizes import fits

from densebench.cost.count import build_for_counting, flops_by_part, params_m, published_shape
from densebench.leaderboard.published import PublishedResult, backbone_name, published_results
from densebench.recipe import CONFIG_FOLDER, Recipe, RunOptions, resolve

RECIPES = Path(__file__).parent / "published_recipes.csv"
AUTHORS = ("facebookresearch/ConvNeXt ",)
NAMES = sorted(path.stem for path in CONFIG_FOLDER.glob("mask_rcnn_*_coco*.py"))


@cache
def recipe_of(name: str, backbone: str | None = None) -> Recipe:
    pretrained = None if backbone is None else "none"
    return resolve(RunOptions(name, backbone=backbone, pretrained=pretrained), with_data=False)


def published_row(recipe: Recipe) -> dict[str, str]:
    identity = recipe.identity
    with RECIPES.open() as file:
        (row,) = [
            row
            for row in csv.DictReader(file)
            if row["source"].startswith(AUTHORS)
            and backbone_name(row["backbone"], row["variant"]) == identity.backbone
            and (row["method"], row["dataset"], row["pretrain"])
            == (identity.method, identity.dataset, identity.pretrain)
        ]
    return row


def published_result(recipe: Recipe) -> PublishedResult:
    identity = recipe.identity
    return next(
        result
        for result in published_results()
        if (result.backbone, result.method, result.dataset, result.pretrain)
        == (identity.backbone, identity.method, identity.dataset, identity.pretrain)
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_the_published_row(name: str) -> None:
    recipe = recipe_of(name)
    row, description = published_row(recipe), recipe.description
    wrapper, backbone, schedule = (
        description["optim_wrapper"], description["model"]["backbone"], description["schedule"]
    )  # fmt: skip
    optimizer, paramwise = wrapper["optimizer"], wrapper["paramwise_cfg"]
    assert optimizer["type"] == row["optimizer"]
    assert optimizer["lr"] == float(row["base_lr"]) and optimizer["weight_decay"] == float(row["weight_decay"])
    assert optimizer["betas"] == tuple(map(float, row["betas"].split()))
    assert paramwise["decay_rate"] == float(row["layer_decay_rate"])
    assert paramwise["decay_type"] == row["layer_decay_type"]
    assert paramwise["num_layers"] == int(row["num_layers_for_decay"])
    assert backbone["drop_path_rate"] == float(row["drop_path_rate"])
    assert backbone["layer_scale_init_value"] == float(row["layer_scale_init"])
    assert description["total_batch"] == int(row["batch_size_total"])
    first, second = schedule["steps"]["at"]
    warmup = schedule["warmup"]
    assert schedule["steps"]["factor"] == 0.1
    assert row["schedule"] == (
        f"{schedule['epochs']} epochs; step decay at {first} and {second}; linear warmup {warmup['iterations']} iters "
        f"from ratio {warmup['ratio']}"
    )
    sides, crop = description["train_short_sides"], description["crop_size"]
    assert row["crop_or_scales"] == (
        f"{sides[0]}-{sides[-1]}x{description['train_long_side']} ({len(sides)} short sides; 50% resize "
        f"{'/'.join(map(str, description['crop_short_sides']))} + crop {crop[0]}x{crop[1]} + resize)"
    )
    assert {after - before for before, after in itertools.pairwise(sides)} == {32}
    weights = recipe.starting_weights
    assert weights.name == row["pretrain"] and weights.url and weights.sha256 and weights.sha256 in weights.url


@pytest.mark.parametrize("name", NAMES)
def test_name_header_and_cost_are_the_published(name: str) -> None:
    recipe = recipe_of(name)
    identity, result = recipe.identity, published_result(recipe)
    pretrain = "" if identity.pretrain == "in1k" else f"_{identity.pretrain}"
    assert name == f"{identity.method}_{identity.backbone}_{identity.dataset}{pretrain}"
    header = (CONFIG_FOLDER / f"{name}.py").read_text().split('"""')[1]
    assert f"tools/train.py configs/{name}.py" in header
    for figure in ("box_ap", "mask_ap", "params_m", "flops_g"):
        assert result.printed[figure] in header, figure
    model = build_for_counting(recipe.config.model)
    assert published_shape(recipe.description) == result.flops_input
    assert fits(params_m(model), result.printed["params_m"])
    assert fits(sum(flops_by_part(model, result.flops_input).values()), result.printed["flops_g"])


@pytest.mark.parametrize(
    ("backbone", "flops_g"),
    [("convnext_t", 261.9), ("resnet50", 259.3), ("swin_t", 266.6)],  # published: 262, 260, 267
)
def test_cost_of_other_backbones_under_mask_rcnn(backbone: str, flops_g: float) -> None:
    model = build_for_counting(recipe_of("mask_rcnn_convnext_t_coco", backbone).config.model)
    assert sum(flops_by_part(model, (1280, 800)).values()) == pytest.approx(flops_g, abs=0.05)


def test_the_model_is_mmdets_standard_one() -> None:
    """But for the backbone, what our base writes out is what mmdetection's own base has."""
    import mmdet
    from mmengine.config import Config

    theirs = Config.fromfile(Path(mmdet.__file__).parent / ".mim/configs/_base_/models/mask-rcnn_r50_fpn.py").model
    ours = recipe_of("mask_rcnn_convnext_t_coco").config.model
    for part in theirs.keys() - {"backbone", "neck"}:
        assert ours[part] == theirs[part], part
    assert ours.neck == {**theirs.neck, "in_channels": [96, 192, 384, 768]}

"""Every published recipe in configs/ against its row of published_recipes.csv, and its cost against the papers'."""

import csv
from functools import cache
from pathlib import Path

import pytest
from contract_sizes import fits

import densebench.registration  # noqa: F401
from densebench.cost.count import build_for_counting, flops_by_part, params_m, published_shape
from densebench.leaderboard.published import PublishedResult, backbone_name, published_results
from densebench.recipe import CONFIG_FOLDER, Recipe, RunOptions, resolve

RECIPES = Path(__file__).parent / "published_recipes.csv"

# The backbone authors' own rows; OpenMMLab's repeat them.
AUTHORS = ("facebookresearch/ConvNeXt ",)


def config_names() -> list[str]:
    """Every config but those of the demo and of one's own data, for which nothing is published."""
    return sorted(path.stem for path in CONFIG_FOLDER.glob("*.py") if not path.stem.endswith("_folder"))


@cache
def recipe_of(name: str) -> Recipe:
    return resolve(RunOptions(name), with_data=False)


def published_row(recipe: Recipe) -> dict[str, str]:
    identity = recipe.identity
    wanted = (identity.method, identity.dataset, identity.pretrain)
    with RECIPES.open() as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["source"].startswith(AUTHORS)
            and backbone_name(row["backbone"], row["variant"]) == identity.backbone
            and (row["method"], row["dataset"], row["pretrain"]) == wanted
        ]
    crop = "x".join(map(str, recipe.description["crop_size"]))
    (row,) = [row for row in rows if row["crop_or_scales"] == crop]
    return row


def published_result(recipe: Recipe) -> PublishedResult:
    identity = recipe.identity
    found = [
        result
        for result in published_results()
        if (result.backbone, result.method, result.dataset, result.pretrain)
        == (identity.backbone, identity.method, identity.dataset, identity.pretrain)
        and result.figures.get("miou_ss") is not None
    ]
    assert found, identity
    return found[0]


@pytest.mark.parametrize("name", config_names())
def test_every_number_of_the_published_row(name: str) -> None:
    recipe = recipe_of(name)
    row, description = published_row(recipe), recipe.description
    wrapper, backbone = description["optim_wrapper"], description["model"]["backbone"]
    optimizer, paramwise, schedule = wrapper["optimizer"], wrapper["paramwise_cfg"], description["schedule"]

    assert optimizer["type"] == row["optimizer"]
    assert optimizer["lr"] == float(row["base_lr"])
    assert optimizer["weight_decay"] == float(row["weight_decay"])
    assert optimizer["betas"] == tuple(map(float, row["betas"].split()))
    assert paramwise["decay_rate"] == float(row["layer_decay_rate"])
    assert paramwise["decay_type"] == row["layer_decay_type"]
    assert paramwise["num_layers"] == int(row["num_layers_for_decay"])
    assert backbone["drop_path_rate"] == float(row["drop_path_rate"])
    assert backbone["layer_scale_init_value"] == float(row["layer_scale_init"])
    assert description["total_batch"] == int(row["batch_size_total"])
    assert (
        f"{schedule['iterations'] // 1000}k iters; poly power {schedule['poly']['power']}; "
        f"min_lr {schedule['poly']['min_lr']:g}; linear warmup {schedule['warmup']['iterations']} iters "
        f"from ratio {schedule['warmup']['ratio']:.0e}"
    ).replace("1e-06", "1e-6") == row["schedule"]

    assert "SyncBN heads; FCN auxiliary head on stage 3 output, weight 0.4; UPerHead channels 512" in row["notes"]
    head, auxiliary = description["model"]["decode_head"], description["model"]["auxiliary_head"]
    assert head["norm_cfg"]["type"] == auxiliary["norm_cfg"]["type"] == "SyncBN" and head["channels"] == 512
    assert auxiliary["in_index"] == 2 and auxiliary["loss_decode"]["loss_weight"] == 0.4
    single, multi = description["test_ss"], description["test_ms"]
    stride = int(row["notes"].partition("stride ")[2].split(",")[0])
    assert "ss config tests in slide mode" in row["notes"] and "ms config tests in whole mode" in row["notes"]
    assert single["mode"] == "slide" and single["stride"] == (stride, stride) and multi["mode"] == "whole"
    assert single["crop_size"] == description["crop_size"]
    assert single["scale"] == multi["scale"] == description["train_scale"]
    assert single["scale"] == (4 * description["crop_size"][0], description["crop_size"][0])
    # The row does not state the ratios; the ConvNeXt paper takes those of Swin: 0.5 to 1.75.
    assert multi["ratios"] == (0.5, 0.75, 1.0, 1.25, 1.5, 1.75) and multi["flip"]
    weights = recipe.starting_weights
    assert weights.name == row["pretrain"] and weights.url and weights.sha256 and weights.sha256 in weights.url


@pytest.mark.parametrize("name", config_names())
def test_the_name_follows_the_rule(name: str) -> None:
    identity = recipe_of(name).identity
    pretrain = "" if identity.pretrain == "in1k" else f"_{identity.pretrain}"
    assert name == f"{identity.method}_{identity.backbone}_{identity.dataset}{pretrain}"


@pytest.mark.parametrize("name", config_names())
def test_the_header_states_the_published_result_and_cost(name: str) -> None:
    recipe = recipe_of(name)
    result = published_result(recipe)
    text = (CONFIG_FOLDER / f"{name}.py").read_text()
    assert f"tools/train.py configs/{name}.py" in text
    for figure in ("miou_ss", "miou_ms", "params_m", "flops_g"):
        assert result.printed[figure] in text.split('"""')[1], figure


@pytest.mark.parametrize("name", config_names())
def test_the_cost_is_the_published(name: str) -> None:
    recipe = recipe_of(name)
    result = published_result(recipe)
    model = build_for_counting(recipe.config.model)
    shape = published_shape(recipe.description)
    assert shape == result.flops_input
    assert fits(params_m(model), result.printed["params_m"])
    assert fits(sum(flops_by_part(model, shape).values()), result.printed["flops_g"])

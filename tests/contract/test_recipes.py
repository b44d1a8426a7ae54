"""Every published UperNet recipe on ADE20K against its row of published_recipes.csv, and its cost against the papers'.

A row states some numbers and leaves others out; what it states is held, in its columns and in its text alike.
"""

import csv
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from contract_sizes import fits
from test_published_sizes import KNOWN_UPERNET, UperNetRow

import densebench.registration  # noqa: F401
from densebench.cost.count import build_for_counting, flops_by_part, params_m, published_shape
from densebench.engine.layer_decay import parameter_settings
from densebench.recipe import CONFIG_FOLDER, Recipe, RunOptions, resolve
from densebench.results.published import PublishedResult, backbone_name, pretrain_name, published_results

RECIPES = Path(__file__).parent / "published_recipes.csv"

# Where each family's recipe is from: the authors' repository before their paper; OpenMMLab's rows repeat them.
SOURCES = (
    "facebookresearch/ConvNeXt ",
    "SwinTransformer/Swin-Transformer-Semantic-Segmentation ",
    "Swin paper ",
    "RepLKNet-pytorch ",
    "ConvNeXt V2 paper ",
    "open-mmlab/mmsegmentation v1.2.2 configs/upernet/upernet_r50_4xb4-160k",
)

# Where a recipe does not follow its row, and why.
DEVIATIONS = {
    ("upernet_swin_b_ade20k_in22k", "drop_path_rate"): "the paper states 0.2, its released configs have 0.3",
    ("upernet_swin_l_ade20k_in22k", "drop_path_rate"): "the paper states 0.2, its released configs have 0.3",
}

# Hosted by their authors alone, on Google Drive, without a hash.
WITHOUT_HASH = (
    "upernet_replknet_31b_ade20k_in22k",
    "upernet_replknet_31l_ade20k_in22k",
    "upernet_replknet_xl_ade20k_megdata73m",
)


def config_names() -> list[str]:
    return sorted(path.stem for path in CONFIG_FOLDER.glob("upernet_*_ade20k*.py"))


@cache
def recipe_of(name: str) -> Recipe:
    return resolve(RunOptions(name), with_data=False)


def published_row(recipe: Recipe) -> dict[str, str]:
    """The first row, by the order of the sources, of the recipe's backbone, pretraining and crop."""
    identity = recipe.identity
    family_pretrain = "fcmae" if identity.pretrain.startswith("fcmae") else identity.pretrain
    with RECIPES.open() as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if identity.backbone in {backbone_name(row["backbone"], size) for size in row["variant"].split("/")}
            and (row["method"], row["dataset"]) == (identity.method, identity.dataset)
            and (not row["pretrain"] or pretrain_name(row["pretrain"]) == family_pretrain)
            and "x".join(map(str, recipe.description["crop_size"])) in row["crop_or_scales"]
        ]
    return next(row for source in SOURCES for row in rows if row["source"].startswith(source))


def published_result(recipe: Recipe) -> PublishedResult:
    """The first row of the recipe, one with a single-scale result where there is: later papers quote the other."""
    identity = recipe.identity
    wanted = (identity.backbone, identity.method, identity.dataset, identity.pretrain, identity.schedule)
    found = [
        result
        for result in published_results()
        if (result.backbone, result.method, result.dataset, result.pretrain, result.schedule) == wanted
        and result.crop_or_scale == "x".join(map(str, recipe.description["crop_size"]))
    ]
    return min(found, key=lambda result: "miou_ss" not in result.printed)


def allowed(cell: str) -> set[float]:
    """The numbers that a cell allows: one, or those of a search."""
    return set(map(float, cell.removeprefix("searched: ").split()))


@pytest.mark.parametrize("name", config_names())
def test_every_number_of_the_published_row(name: str) -> None:
    recipe = recipe_of(name)
    row, description = published_row(recipe), recipe.description
    backbone, wrapper = description["model"]["backbone"], description["optim_wrapper"]
    optimizer, paramwise = wrapper["optimizer"], wrapper["paramwise_cfg"]

    assert optimizer["type"] == row["optimizer"].split()[0]
    if "momentum" in row["optimizer"]:
        assert optimizer["momentum"] == float(row["optimizer"].partition("momentum ")[2])
    if row["betas"]:
        assert optimizer["betas"] == tuple(map(float, row["betas"].split()))
    decays = row["layer_decay_type"] not in ("", "none")
    if decays:
        assert paramwise["decay_type"] == row["layer_decay_type"]
    found = {
        "base_lr": optimizer["lr"],
        "weight_decay": optimizer["weight_decay"],
        "layer_decay_rate": paramwise["decay_rate"],
        "num_layers_for_decay": paramwise.get("num_layers"),
        "drop_path_rate": backbone.get("drop_path_rate"),
        "batch_size_total": description["total_batch"],
    }
    assert decays or paramwise["decay_rate"] == 1.0
    for column, value in found.items():
        if row[column]:
            assert (value in allowed(row[column])) == ((name, column) not in DEVIATIONS), column
    if row["layer_scale_init"] in ("", "none"):
        assert "layer_scale_init_value" not in backbone
    else:
        assert backbone["layer_scale_init_value"] == float(row["layer_scale_init"])


@pytest.mark.parametrize("name", config_names())
def test_the_published_schedule(name: str) -> None:
    recipe = recipe_of(name)
    text, schedule = published_row(recipe)["schedule"], recipe.description["schedule"]
    warmup, poly = schedule["warmup"], schedule["poly"]
    stated = {
        r"(\d+)k iters": schedule["iterations"] / 1000,
        r"poly power ([\d.]+)": poly["power"],
        r"min_lr ([\d.e-]+)": poly["min_lr"],
        r"linear warmup (\d+) iters": warmup["iterations"],
        r"from ratio ([\d.e-]+)": warmup["ratio"],
    }
    for pattern, value in stated.items():
        if match := re.search(pattern, text):
            assert value == float(match[1]), pattern
    assert ("no warmup" in text) == (warmup["iterations"] == 0)
    # A result is published under the iterations at 16 images (RepLKNet: at 32), however many GPUs there were.
    images = schedule["iterations"] * recipe.description["total_batch"]
    assert schedule["name"] == "160k" and images == 160_000 * (32 if "replknet" in name else 16)
    assert recipe.description["val_interval"] * 10 == schedule["iterations"]


@pytest.mark.parametrize("name", config_names())
def test_what_the_published_row_says_in_words(name: str) -> None:
    recipe = recipe_of(name)
    description = recipe.description
    notes, model = published_row(recipe)["notes"], description["model"]
    backbone, head, auxiliary = model["backbone"], model["decode_head"], model["auxiliary_head"]

    assert head["norm_cfg"]["type"] == auxiliary["norm_cfg"]["type"] == "SyncBN" and head["channels"] == 512
    assert auxiliary["in_index"] == 2 and auxiliary["loss_decode"]["loss_weight"] == 0.4
    exempt = description["optim_wrapper"]["paramwise_cfg"]["no_weight_decay"]
    facts = {
        "SyncBN backbone": backbone.get("use_sync_bn", False),
        "activation checkpointing on": backbone.get("use_checkpoint", False),
        "BN on intermediate features": backbone.get("norm_outputs", False),
        "window 7": backbone.get("window_size") == 7,
        "ResNetV1c": backbone.get("deep_stem", False),
        "mean and std 127.5": model["data_preprocessor"]["mean"] == model["data_preprocessor"]["std"] == [127.5] * 3,
        "no weight decay on norms": "norm" in exempt or "norms" in exempt,
        "relative position bias table": "relative_position_bias_table" in exempt and "absolute_pos_embed" in exempt,
    }
    for words, holds in facts.items():
        assert not (words in notes and not holds), words
    if model["data_preprocessor"]["std"] != [127.5] * 3:
        assert model["data_preprocessor"]["mean"] == [123.675, 116.28, 103.53]


@pytest.mark.parametrize(
    ("name", "norm_of_the_backbone", "of_the_head"),
    [
        ("upernet_swin_t_ade20k", ("backbone.layers.1.downsample.norm.weight", 0.0), 0.01),
        ("upernet_replknet_31b_ade20k", ("backbone.stages.2.blocks.5.preffn_bn.bias", 0.0), 0.0),
        ("upernet_convnextv2_base_ade20k_fcmae", ("backbone.stages.2.5.grn.gamma", 0.0), 0.0),
        ("upernet_resnet50_ade20k", ("backbone.layer1.0.bn1.weight", 5e-4), 5e-4),
    ],
)
def test_weight_decay_of_norms(name: str, norm_of_the_backbone: tuple[str, float], of_the_head: float) -> None:
    recipe = recipe_of(name)
    wrapper = recipe.description["optim_wrapper"]
    model = build_for_counting(recipe.config.model)
    settings = parameter_settings(model, wrapper["optimizer"]["weight_decay"], wrapper["paramwise_cfg"])
    decay = {setting.name: setting.weight_decay for setting in settings}
    assert decay[norm_of_the_backbone[0]] == norm_of_the_backbone[1]
    assert decay["decode_head.bottleneck.bn.weight"] == of_the_head
    assert decay["decode_head.bottleneck.conv.weight"] == wrapper["optimizer"]["weight_decay"]


@pytest.mark.parametrize("name", config_names())
def test_both_test_protocols(name: str) -> None:
    recipe = recipe_of(name)
    description, notes = recipe.description, published_row(recipe)["notes"]
    single, multi, crop = description["test_ss"], description["test_ms"], description["crop_size"]

    def windows(protocol: Mapping[str, Any]) -> int | None:
        """The stride of sliding windows of the crop's size, None for the whole image at once."""
        if protocol["mode"] == "whole":
            return None
        assert protocol["crop_size"] == crop and protocol["stride"][0] == protocol["stride"][1]
        return int(protocol["stride"][0])

    stated = re.search(r"slide (?:mode with|test) stride (\d+)", notes)
    if stated:
        assert windows(single) == int(stated[1])
    if "whole-image test" in notes:
        assert windows(single) is windows(multi) is None
    if "ms config tests in whole mode" in notes:
        assert windows(multi) is None
    assert single["ratios"] == (1.0,) and not single["flip"] and multi["flip"]
    ratios = re.search(r"multi-scale test at ([\d.]+ [\d. ]*\d)", notes)
    # Swin's paper states 0.5 to 1.75, which ConvNeXt's and RepLKNet's take over with the toolbox.
    assert multi["ratios"] == (tuple(map(float, ratios[1].split())) if ratios else (0.5, 0.75, 1.0, 1.25, 1.5, 1.75))
    assert single["scale"] == multi["scale"] == description["train_scale"]
    # RepLKNet's released configs keep the scale of 512 with crops of 640.
    height = 512 if "replknet" in name else crop[0]
    assert single["scale"] == (4 * height, height)


@pytest.mark.parametrize("name", config_names())
def test_the_starting_weights(name: str) -> None:
    weights = recipe_of(name).starting_weights
    assert weights.url is not None
    if name in WITHOUT_HASH:
        assert weights.sha256 is None and "google" in weights.url
    else:
        assert weights.sha256 and len(weights.sha256) >= 8
        assert weights.url.endswith(f"-{weights.sha256}.pth")


@pytest.mark.parametrize("name", config_names())
def test_the_name_follows_the_rule(name: str) -> None:
    identity = recipe_of(name).identity
    pretrain = "" if identity.pretrain == "in1k" else f"_{identity.pretrain}"
    assert name == f"{identity.method}_{identity.backbone}_{identity.dataset}{pretrain}"


@pytest.mark.parametrize("name", config_names())
def test_the_header_states_commands_published_result_and_cost(name: str) -> None:
    result = published_result(recipe_of(name))
    header = (CONFIG_FOLDER / f"{name}.py").read_text().split('"""')[1]
    for command in (f"tools/train.py configs/{name}.py", f"tools/test.py configs/{name}.py --aug-test"):
        assert command in header
    for figure in {"miou_ss", "miou_ms", "params_m", "flops_g"} & result.printed.keys():
        assert re.search(rf"\b{re.escape(result.printed[figure])}\b", header), figure


@pytest.mark.parametrize("name", config_names())
def test_the_cost_is_the_published(name: str) -> None:
    recipe = recipe_of(name)
    result = published_result(recipe)
    shape = published_shape(recipe.description)
    assert result.flops_input in (shape, None)
    printed = [result.printed.get(figure, "") for figure in ("params_m", "flops_g")]
    model: Any = build_for_counting(recipe.config.model)
    params, flops = [params_m(model)], [sum(flops_by_part(model, shape).values())]
    if "replknet" in name:  # whose tables leave the auxiliary head out, and may state the merged form
        auxiliary = sum(parameter.numel() for parameter in model.auxiliary_head.parameters()) / 1e6
        model.backbone.merge_reparameterization()
        model = model.to("meta").eval()
        params = [params[0] - auxiliary, params_m(model) - auxiliary]
        flops.append(sum(flops_by_part(model, shape).values()))
    agrees = any(fits(value, printed[0]) for value in params) and any(fits(value, printed[1]) for value in flops)
    row = str(UperNetRow(recipe.identity.backbone, shape, *printed))
    assert agrees == (row not in KNOWN_UPERNET), row


@pytest.mark.parametrize("name", config_names())
def test_the_miniature_keeps_the_model(name: str) -> None:
    small, recipe = resolve(RunOptions(name, mini=True)), recipe_of(name)
    assert small.config.model.backbone == recipe.config.model.backbone
    assert small.config.optim_wrapper.optimizer == recipe.description["optim_wrapper"]["optimizer"]
    assert small.description["crop_size"] == (128, 128) and small.starting_weights.name == "none"

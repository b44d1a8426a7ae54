"""Every recipe of Cityscapes in configs/ against its published row, and its cost against the papers'.

MobileNetV2's recipe is not published beyond "mmsegmentation's defaults": it is held against mmsegmentation's own row of
DeepLabV3+ with crops of 769.
"""

import csv
from functools import cache
from pathlib import Path

import pytest
from contract_sizes import fits

import densebench.registration  # noqa: F401
from densebench.cost.count import build_for_counting, flops_by_part, params_m, published_shape
from densebench.recipe import CONFIG_FOLDER, Recipe, RunOptions, resolve
from densebench.results.published import PublishedResult, published_results

RECIPES = Path(__file__).parent / "published_recipes.csv"
REPLKNET = "upernet_replknet_31b_cityscapes"
NAMES = sorted(path.stem for path in CONFIG_FOLDER.glob("*_cityscapes.py"))
MOBILENETS = [name for name in NAMES if name != REPLKNET]

# Published parameters and multiply-adds that we cannot count, with ours.
KNOWN_COSTS = {
    REPLKNET: (
        "110 M 2315 G",
        "112.1 M 2333 G: the authors' own row of ADE20K, 112 M and 1170 G at 2048x512, gives 112 M and 2331 G, with "
        "twice the pixels and 131 classes fewer (0.1 M in both heads, 8.8 G)",
    ),
}


@cache
def recipe_of(name: str) -> Recipe:
    return resolve(RunOptions(name, pretrained="none"), with_data=False)


def published_row(family: str, variant: str, method: str, crop: str) -> dict[str, str]:
    with RECIPES.open() as file:
        (row,) = [
            row
            for row in csv.DictReader(file)
            if (row["backbone"], row["variant"], row["method"], row["dataset"], row["crop_or_scales"])
            == (family, variant, method, "cityscapes", crop)
        ]
    return row


def published_result(name: str) -> PublishedResult:
    """The row of the config's backbone."""
    identity = recipe_of(name).identity
    (result,) = [
        result
        for result in published_results()
        if (result.backbone, result.method, result.dataset) == (identity.backbone, identity.method, identity.dataset)
    ]
    return result


def test_every_number_of_replknets_row() -> None:
    row, description = published_row("RepLKNet", "31B", "upernet", "769x769"), recipe_of(REPLKNET).description
    wrapper, backbone = description["optim_wrapper"], description["model"]["backbone"]
    optimizer, schedule = wrapper["optimizer"], description["schedule"]

    assert optimizer["type"] == row["optimizer"]
    assert optimizer["lr"] == float(row["base_lr"])
    assert optimizer["weight_decay"] == float(row["weight_decay"])
    assert optimizer["betas"] == tuple(map(float, row["betas"].split()))
    assert row["layer_decay_type"] == "none" and "no weight decay on norms" in row["notes"]
    assert "constructor" not in wrapper and wrapper["paramwise_cfg"] == {"norm_decay_mult": 0.0}
    assert backbone["drop_path_rate"] == float(row["drop_path_rate"])
    assert row["schedule"] == (
        f"{schedule['iterations'] // 1000}k iters (4 nodes x 8 GPUs, stands for {schedule['name']} on 8 GPUs); "
        f"poly power {schedule['poly']['power']}; linear warmup {schedule['warmup']['iterations']} iters from "
        "ratio 1e-6"
    )
    assert schedule["warmup"]["ratio"] == 1e-6 and schedule["poly"]["min_lr"] == 0.0
    assert "32 GPUs, images per GPU from the mmseg dataset base (2 by default)" in row["notes"]
    assert description["total_batch"] == 32 * 2
    assert "SyncBN backbone and heads; FCN auxiliary head weight 0.4; activation checkpointing on" in row["notes"]
    head, auxiliary = description["model"]["decode_head"], description["model"]["auxiliary_head"]
    assert backbone["use_sync_bn"] and backbone["use_checkpoint"]
    assert head["norm_cfg"]["type"] == auxiliary["norm_cfg"]["type"] == "SyncBN"
    assert auxiliary["loss_decode"]["loss_weight"] == 0.4
    assert "out_indices 0-3" in row["notes"] and head["in_index"] == [0, 1, 2, 3]
    assert "align_corners on" in row["notes"] and head["align_corners"] and auxiliary["align_corners"]
    # The authors' config tests the whole image at both protocols.
    assert description["test_ss"]["mode"] == description["test_ms"]["mode"] == "whole"
    weights = resolve(RunOptions(REPLKNET), with_data=False).starting_weights
    assert weights.name == row["pretrain"] and weights.sha256 and weights.sha256 in str(weights.url)


@pytest.mark.parametrize("name", MOBILENETS)
def test_every_number_of_deeplabs_row(name: str) -> None:
    row, description = published_row("ResNet", "50", "deeplabv3plus", "769x769"), recipe_of(name).description
    optimizer, schedule = description["optim_wrapper"]["optimizer"], description["schedule"]

    assert f"{optimizer['type']} momentum {optimizer['momentum']}" == row["optimizer"]
    assert optimizer["lr"] == float(row["base_lr"])
    assert optimizer["weight_decay"] == float(row["weight_decay"])
    assert "paramwise_cfg" not in description["optim_wrapper"]
    assert description["total_batch"] == int(row["batch_size_total"])
    assert schedule["poly"] == {"power": 0.9, "min_lr": 1e-4}
    assert schedule["warmup"]["iterations"] == 0
    assert row["schedule"] == f"{schedule['iterations'] // 1000}k iters; poly power 0.9; min_lr 1e-4; no warmup"
    head, auxiliary = description["model"]["decode_head"], description["model"]["auxiliary_head"]
    assert "SyncBN" in row["notes"] and head["norm_cfg"]["type"] == auxiliary["norm_cfg"]["type"] == "SyncBN"
    # What the row leaves to the config that it names: output stride 8, windows of 769 at a stride of 513.
    assert "deeplabv3plus_r50-d8_4xb2-80k_cityscapes-769x769" in row["source"]
    assert description["model"]["backbone"]["output_stride"] == 8
    assert head["align_corners"] and auxiliary["align_corners"]
    for protocol in ("test_ss", "test_ms"):
        assert description[protocol]["mode"] == "slide" and description[protocol]["stride"] == (513, 513)
        assert description[protocol]["crop_size"] == (769, 769)
    model = recipe_of(name).config.model
    assert (model.decode_head.in_channels, model.decode_head.c1_in_channels) == (320, 24)
    assert model.auxiliary_head.in_channels == 96


@pytest.mark.parametrize("name", NAMES)
def test_data_and_scales_are_those_of_mmsegmentations_769_base(name: str) -> None:
    description = recipe_of(name).description
    single, multi = description["test_ss"], description["test_ms"]
    assert description["crop_size"] == (769, 769) and description["num_classes"] == 19
    assert single["scale"] == multi["scale"] == description["train_scale"] == (2049, 1025)
    assert description["train_ratios"] == (0.5, 2.0)
    assert single["ratios"] == (1.0,) and not single["flip"]
    assert multi["ratios"] == (0.5, 0.75, 1.0, 1.25, 1.5, 1.75) and multi["flip"]


def test_there_is_a_config_for_every_published_row_of_our_backbones() -> None:
    wanted = {
        result.backbone
        for result in published_results()
        if result.dataset == "cityscapes" and (result.family, result.variant) != ("MobileNetV2", "d8")
        if result.family in ("RepLKNet", "MobileNetV2")
    }
    assert wanted == {published_result(name).backbone for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_name_and_header(name: str) -> None:
    identity, result = recipe_of(name).identity, published_result(name)
    assert name == f"{identity.method}_{identity.backbone}_{identity.dataset}"
    header = (CONFIG_FOLDER / f"{name}.py").read_text().split('"""')[1]
    assert f"tools/train.py configs/{name}.py" in header and f"tools/test.py configs/{name}.py" in header
    for figure in ("miou_ss", "miou_ms", "params_m", "flops_g"):
        if figure in result.printed:
            assert result.printed[figure] in header, figure


@pytest.mark.parametrize("name", NAMES)
def test_cost(name: str) -> None:
    recipe, result = recipe_of(name), published_result(name)
    model, shape = build_for_counting(recipe.config.model), published_shape(recipe.description)
    assert shape == (2048, 1024)
    params = params_m(model) - sum(parameter.numel() for parameter in model.auxiliary_head.parameters()) / 1e6
    flops = sum(flops_by_part(model, shape).values())
    printed = {figure: result.printed.get(figure, "") for figure in ("params_m", "flops_g")}
    agrees = fits(params, printed["params_m"]) and fits(flops, printed["flops_g"])
    assert agrees == (name not in KNOWN_COSTS), (params, flops)
    if name in KNOWN_COSTS:
        figures, reason = KNOWN_COSTS[name]
        assert figures == f"{printed['params_m']} M {printed['flops_g']} G"
        assert reason.startswith(f"{params:.1f} M {flops:.0f} G")

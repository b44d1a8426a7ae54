"""Every config's parameters and multiply-adds are counted on the meta device, by part, and no product is missed.

The fast tests take one config of each method and family of backbones, the slow ones all of them.
"""

import json
import re
from functools import cache
from pathlib import Path

import pytest
from mmengine.config import Config

import densebench.registration  # noqa: F401
from densebench.cost.count import FlopCounts, build_for_counting, count_flops, params_by_part, params_m
from densebench.recipe import CONFIG_FOLDER, Recipe, RunOptions, resolve

FILES = sorted([*CONFIG_FOLDER.glob("*.py"), *CONFIG_FOLDER.glob("demo/*.py")])
# Costs do not depend on the size of an image's multiple, and small images count quickly.
SHAPE = (256, 256)
# What may be left uncounted: none of these is a product of matrices or a convolution.
PRODUCTS = re.compile(r"aten\.(add|b|badd)*mm|conv|attention|einsum|aten\.linear|matmul|aten\.v?dot|aten\.mv")
FAMILIES = ("convnextv2", "convnext", "replknet", "swin", "resnext", "resnet", "mobilenetv2")


@cache
def counted(model: str) -> tuple[float, dict[str, float], FlopCounts]:
    """Of a model given as JSON, so that configs with the same one share a build."""
    built = build_for_counting(Config({"model": json.loads(model)}).model)
    return params_m(built), params_by_part(built), count_flops(built, SHAPE)


def model_of(recipe: Recipe) -> str:
    """The model without what its cost does not depend on."""
    model = recipe.config.model.to_dict()
    for key in ("drop_path_rate", "frozen_stages", "norm_eval", "norm_frozen", "use_checkpoint"):
        model["backbone"].pop(key, None)
    return json.dumps({key: part for key, part in model.items() if key not in ("data_preprocessor",)})


def kind(file: Path) -> tuple[str, str]:
    """Method and family of a config, by its name."""
    return file.stem.split("_")[0], next(family for family in FAMILIES if family in file.stem)


FIRST = {kind(file): file for file in reversed(FILES)}
CASES = [
    pytest.param(file, id=file.stem, marks=() if file == FIRST[kind(file)] else pytest.mark.slow) for file in FILES
]


@pytest.mark.parametrize("file", CASES)
def test_costs_are_counted_by_part(file: Path) -> None:
    options = {"num_classes": 20} if "folder" in file.stem else {}
    recipe = resolve(RunOptions(str(file), pretrained="none", cfg_options=options), with_data=False)
    total, by_part, flops = counted(model_of(recipe))
    assert sum(by_part.values()) == pytest.approx(total)
    parts = (
        {"backbone", "decode_head"} if recipe.identity.method in ("upernet", "deeplabv3plus") else {"bbox_head", "neck"}
    )
    assert parts <= set(by_part) and parts <= set(flops.by_part)
    assert all(value > 0 for value in flops.by_part.values())
    missed = [name for name in flops.uncounted if PRODUCTS.search(name)]
    assert not missed

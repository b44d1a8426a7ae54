from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import densebench.registration  # noqa: F401
from densebench.cost.count import build_for_counting, computed_flops_g, flops_by_part, params_m, published_shape
from densebench.errors import DensebenchError
from densebench.recipe import Recipe, RunOptions, resolve

CROPS_OF_640 = {"crop_size": (640, 640), "test_ss.scale": (2560, 640)}

# ConvNeXt, table 4 (and the authors' repository): parameters in M and multiply-adds in G as printed.
PUBLISHED = [
    ("convnext_t", {}, 60, 939),
    ("convnext_s", {}, 82, 1027),
    ("convnext_b", {}, 122, 1170),
    ("convnext_b", CROPS_OF_640, 122, 1828),
    ("convnext_l", CROPS_OF_640, 235, 2458),
    ("convnext_xl", CROPS_OF_640, 391, 3335),
]


def recipe_of(backbone: str, cfg_options: dict[str, object] | None = None, mini: bool = False) -> Recipe:
    options = RunOptions(
        config="upernet_convnext_t_ade20k",
        backbone=backbone,
        pretrained="none",
        mini=mini,
        cfg_options=cfg_options or {},
    )
    return resolve(options, with_data=False)


@pytest.mark.parametrize(("backbone", "cfg_options", "params", "flops"), PUBLISHED)
def test_costs_are_the_published_ones(
    backbone: str, cfg_options: dict[str, object], params: float, flops: float
) -> None:
    recipe = recipe_of(backbone, cfg_options)
    model = build_for_counting(recipe.config.model)
    total = sum(flops_by_part(model, published_shape(recipe.description)).values())
    # The papers round to whole M and G; their G lie up to 0.9 above convolutions and products alone.
    assert params_m(model) == pytest.approx(params, abs=0.5)
    assert total == pytest.approx(flops, abs=1.0)


def test_upernet_convnext_t_is_what_the_contract_says() -> None:
    model = build_for_counting(recipe_of("convnext_t").config.model)
    assert params_m(model) == pytest.approx(60.24, abs=0.005)
    assert sum(flops_by_part(model, (2048, 512)).values()) == pytest.approx(938.5, abs=0.05)


@pytest.mark.parametrize("backbone", ["convnext_t", "timm/resnet18"])
def test_parts_sum_to_the_whole_forward(backbone: str) -> None:
    model = build_for_counting(recipe_of(backbone).config.model)
    by_part = flops_by_part(model, (256, 128))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, 3, 128, 256, device="meta"), mode="tensor")
    assert list(by_part) == ["backbone", "decode_head"]
    assert sum(by_part.values()) * 2e9 == pytest.approx(counter.get_total_flops(), rel=1e-12)


def test_a_neck_is_a_part_and_a_multiply_add_counts_one() -> None:
    model = nn.Module()
    model.backbone = nn.Conv2d(3, 4, kernel_size=1)
    model.neck = nn.Conv2d(4, 5, kernel_size=3, padding=1)
    model.decode_head = nn.Conv2d(5, 2, kernel_size=1)
    by_part = flops_by_part(model.to("meta"), (20, 10))
    expected = {"backbone": 3 * 4 * 200, "neck": 4 * 5 * 9 * 200, "decode_head": 5 * 2 * 200}
    assert by_part == pytest.approx({name: count / 1e9 for name, count in expected.items()})


def test_parameters_hold_the_auxiliary_head() -> None:
    config = recipe_of("convnext_t").config.model
    with_head = params_m(build_for_counting(config))
    without = params_m(build_for_counting({**config, "auxiliary_head": None}))
    # A 3x3 convolution from 384 to 256 channels, its normalization, and the classifier of 150 classes.
    assert (with_head - without) * 1e6 == pytest.approx(384 * 256 * 9 + 2 * 256 + 256 * 150 + 150)


def test_an_input_that_is_too_small_is_told() -> None:
    model = build_for_counting(recipe_of("convnext_t").config.model)
    with pytest.raises(DensebenchError, match=r"backbone cannot take an input of 8x8 pixels.*--shape"):
        flops_by_part(model, (8, 8))


def test_a_config_that_cannot_be_built_is_told() -> None:
    config = recipe_of("convnext_t").config.model
    with pytest.raises(DensebenchError, match=r"cannot be built.*no_such_argument"):
        build_for_counting({**config, "decode_head": {**config.decode_head, "no_such_argument": 1}})


@pytest.mark.parametrize(
    ("method", "dataset", "crop", "scale", "shape"),
    [
        ("upernet", "ade20k", 512, (2048, 512), (2048, 512)),
        ("upernet", "ade20k", 640, (2560, 640), (2560, 640)),
        ("upernet", "ade20k", 384, (1536, 384), (1536, 384)),
        ("deeplabv3plus", "cityscapes", 769, (2049, 1025), (2048, 1024)),
        ("mask_rcnn", "coco", 1024, (1333, 800), (1280, 800)),
        ("upernet", "folder", 512, (1024, 256), (1024, 256)),
    ],
)
def test_published_shapes(method: str, dataset: str, crop: int, scale: tuple[int, int], shape: tuple[int, int]) -> None:
    description = {"method": method, "dataset": dataset, "crop_size": (crop, crop), "test_ss": {"scale": scale}}
    assert published_shape(description) == shape


def test_a_miniature_is_counted_at_its_test_size() -> None:
    recipe = recipe_of("convnext_t", mini=True)
    assert published_shape(recipe.description, mini=True) == (512, 128)


def test_what_is_computed_is_counted_beside_what_is_defined() -> None:
    config = recipe_of("convnext_t").config.model
    assert computed_flops_g(config, (2048, 512)) < 0.45 * 938.5
    config.decode_head.plain = True
    assert computed_flops_g(config, (2048, 512)) == pytest.approx(938.5, abs=0.05)

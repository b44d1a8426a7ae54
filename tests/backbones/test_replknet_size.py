"""RepLKNet in numbers: parameters and multiply-adds of both forms beside the published ones."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import backbones
import densebench.registration  # noqa: F401
from densebench.cost.count import build_for_counting, flops_by_part, params_m, published_shape
from densebench.recipe import RunOptions, resolve

CROPS_OF_640 = {"crop_size": (640, 640), "test_ss.scale": (2560, 640)}


def classifier_size(name: str, side: int, merged: bool) -> tuple[float, float, float]:
    """Parameters (M) and multiply-adds (G) with the classifier and its BN, and the elements that BN layers give (G)."""
    with torch.device("meta"):
        backbone = backbones.build(name, **({"norm_outputs": False} if name == "replknet_xl" else {})).eval()
        image = torch.empty(1, 3, side, side)
    if merged:
        backbone.merge_reparameterization()
    elements = []
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda norm, inputs, output: elements.append(output.numel()))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        last = backbone(image)[-1]
    classes, channels = 1000, backbone.out_channels[-1]
    params = sum(parameter.numel() for parameter in backbone.parameters()) + (channels + 1) * classes + 2 * channels
    flops = counter.get_total_flops() / 2 + channels * classes
    return params / 1e6, flops / 1e9, (sum(elements) + last.numel()) / 1e9


@pytest.mark.parametrize(
    ("name", "side", "params", "flops"),
    [
        # The authors' README: the form after merging, without decimals in the parameters.
        ("replknet_31b", 224, 79, 15.3),
        ("replknet_31b", 384, 79, 45.1),
        ("replknet_31l", 384, 172, 96.0),
        ("replknet_xl", 320, 335, 128.7),
        # Table 5 (and arXiv:2410.08049, table 2d). The parameters are those after every BN is folded, 0.13 M below.
        ("replknet_3", 224, 71.8, 12.9),
        ("replknet_7", 224, 72.2, 13.1),
        ("replknet_13", 224, 73.7, 13.4),
        # mmpretrain, "deploy".
        ("replknet_31b", 224, 79.5, 15.4),
        ("replknet_31b", 384, 79.5, 45.3),
    ],
)
def test_published_size_of_the_merged_form(name: str, side: int, params: float, flops: float) -> None:
    found_params, found_flops, _ = classifier_size(name, side, merged=True)
    assert found_params == pytest.approx(params, rel=5e-3, abs=0.53 if isinstance(params, int) else 0)
    assert found_flops == pytest.approx(flops, rel=5e-3)


@pytest.mark.parametrize(
    ("name", "side", "params", "flops"),
    [
        # mmpretrain, configs/replknet/README.md: five operations per element of a BN count there as multiply-adds, so
        # that the figures lie 0.7 to 1.3 % above convolutions and products alone.
        ("replknet_31b", 224, 79.86, 15.64),
        ("replknet_31b", 384, 79.86, 45.95),
        ("replknet_31l", 384, 172.67, 97.24),
        ("replknet_xl", 320, 335.44, 129.57),
    ],
)
def test_published_size_of_the_training_form(name: str, side: int, params: float, flops: float) -> None:
    found_params, found_flops, elements = classifier_size(name, side, merged=False)
    assert found_params == pytest.approx(params, abs=0.005)
    assert found_flops + 5 * elements == pytest.approx(flops, abs=0.006)


@pytest.mark.parametrize(
    ("name", "cfg_options", "params", "flops"),
    [
        # The authors' README and table 5. Their parameters leave the auxiliary head out and are those after merging;
        # their multiply-adds lie at or between the two forms.
        ("replknet_31b", {}, 112, 1170),
        ("replknet_31b", CROPS_OF_640, 112, 1829),
        ("replknet_31l", CROPS_OF_640, 207, 2404),
        ("replknet_xl", CROPS_OF_640, 374, None),  # 3431 published; the authors' own code has 3404.7, as ours
        ("replknet_3", {}, 104.1, 1119),
        ("replknet_7", {}, 104.6, 1123),
        ("replknet_13", {}, 106.0, 1130),
    ],
)
def test_published_size_with_upernet(
    name: str, cfg_options: dict[str, object], params: float, flops: float | None
) -> None:
    recipe = resolve(
        RunOptions("upernet_convnext_t_ade20k", backbone=name, pretrained="none", cfg_options=cfg_options),
        with_data=False,
    )
    model = build_for_counting({**recipe.config.model, "auxiliary_head": None})
    shape = published_shape(recipe.description)
    trained = sum(flops_by_part(model, shape).values())
    model.backbone.merge_reparameterization()
    merged = sum(flops_by_part(model, shape).values())
    assert params_m(model) == pytest.approx(params, rel=5e-3)
    if flops is None:
        assert trained == merged == pytest.approx(3404.7, abs=0.05)
    else:
        assert trained == pytest.approx(flops, rel=2e-3) and merged == pytest.approx(flops, rel=2e-3)

"""Isotropic ConvNeXt: the released names, the published sizes, the trunk by hand, layer depths."""

import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import backbones
from backbones.convnext_isotropic import DenseIsotropicConvNeXt

SMALL = {"depth": 8, "dim": 16}


@pytest.mark.parametrize(
    ("name", "dim", "params_m", "flops_g"),
    [
        # ConvNeXt, table 2, with the classifier.
        ("convnext_iso_s", 384, 22, 4.3),
        ("convnext_iso_b", 768, 87, 16.9),
        ("convnext_iso_l", 1024, 306, 59.7),
    ],
)
def test_published_size_of_the_trunk(name: str, dim: int, params_m: float, flops_g: float) -> None:
    with torch.device("meta"):
        backbone = backbones.build(name)
        image = torch.empty(1, 3, 224, 224)
    own = sum(value.numel() for key, value in backbone.named_parameters() if not key.startswith("pyramid."))
    assert (own + dim * 1000 + 1000) / 1e6 == pytest.approx(params_m, abs=0.5)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone.forward_trunk(image)
    assert (counter.get_total_flops() / 2 + dim * 1000) / 1e9 == pytest.approx(flops_g, abs=0.05)


def test_names_are_those_of_the_released_checkpoints() -> None:
    with torch.device("meta"):
        backbone = backbones.build("convnext_iso_s")
    block = (
        "dwconv.weight",
        "dwconv.bias",
        "norm.weight",
        "norm.bias",
        "pwconv1.weight",
        "pwconv1.bias",
        "pwconv2.weight",
        "pwconv2.bias",
    )
    released = {"stem.weight", "stem.bias", "norm.weight", "norm.bias"}
    released |= {f"blocks.{index}.{name}" for index in range(18) for name in block}
    assert {name for name in backbone.state_dict() if not name.startswith("pyramid.")} == released


def test_trunk_by_hand() -> None:
    """Stem, one block and norm, written out with the functions of torch."""
    torch.manual_seed(0)
    backbone = DenseIsotropicConvNeXt(depth=1, dim=16).eval()
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    w = dict(backbone.named_parameters())
    image = torch.randn(2, 3, 48, 80)
    stem = functional.conv2d(image, w["stem.weight"], w["stem.bias"], stride=16)
    x = functional.conv2d(stem, w["blocks.0.dwconv.weight"], w["blocks.0.dwconv.bias"], padding=3, groups=16)
    x = functional.layer_norm(x.movedim(1, -1), (16,), w["blocks.0.norm.weight"], w["blocks.0.norm.bias"], 1e-6)
    x = functional.gelu(functional.linear(x, w["blocks.0.pwconv1.weight"], w["blocks.0.pwconv1.bias"]))
    x = functional.linear(x, w["blocks.0.pwconv2.weight"], w["blocks.0.pwconv2.bias"])
    x = stem.movedim(1, -1) + x
    expected = functional.layer_norm(x, (16,), w["norm.weight"], w["norm.bias"], 1e-6).movedim(-1, 1)
    with torch.no_grad():
        torch.testing.assert_close(backbone.forward_trunk(image), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (70, 130)])
def test_levels_at_sizes_that_do_not_divide(size: tuple[int, int]) -> None:
    backbone = DenseIsotropicConvNeXt(**SMALL)
    maps = backbone(torch.zeros(1, 3, *size))
    assert backbone.out_channels == (4, 8, 16, 16)
    for level, channels, stride in zip(maps, backbone.out_channels, (4, 8, 16, 32), strict=True):
        assert tuple(level.shape[1:]) == (channels, -(-size[0] // stride), -(-size[1] // stride))


def test_output_indices_drop_path_and_layer_scale() -> None:
    backbone = DenseIsotropicConvNeXt(**SMALL, drop_path_rate=0.7, layer_scale_init_value=1e-6, out_indices=(0, 2))
    assert backbone.out_channels == (4, 16) and backbone.out_strides == (4, 16)
    assert [level.shape[1] for level in backbone(torch.zeros(1, 3, 32, 32))] == [4, 16]
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for block in backbone.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    assert "blocks.0.gamma" in backbone.state_dict()


@pytest.mark.parametrize(
    ("parameter", "layer_wise_8", "layer_wise_6", "stage_wise"),
    [
        ("stem.weight", 0, 0, 0),
        ("blocks.0.norm.weight", 1, 1, 1),
        ("blocks.3.pwconv1.bias", 4, 3, 2),
        ("blocks.7.dwconv.weight", 8, 6, 4),
        ("norm.bias", 8, 6, 4),
        ("pyramid.levels.0.0.weight", 9, 7, None),
    ],
)
def test_layer_depth(parameter: str, layer_wise_8: int, layer_wise_6: int, stage_wise: int | None) -> None:
    backbone = DenseIsotropicConvNeXt(**SMALL)
    assert backbone.layer_depth(parameter, "layer_wise", 8) == layer_wise_8
    assert backbone.layer_depth(parameter, "layer_wise", 6) == layer_wise_6
    assert backbone.layer_depth(parameter, "stage_wise", 6) == (7 if stage_wise is None else stage_wise)
    with pytest.raises(ValueError, match="decay_type"):
        backbone.layer_depth(parameter, "block_wise", 6)

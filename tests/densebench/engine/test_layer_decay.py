"""Learning rate and weight decay of every parameter."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

import backbones
import densebench.registration  # noqa: F401
from backbones.convnext import DenseConvNeXt, DenseConvNeXtV2
from densebench.engine.layer_decay import parameter_settings
from densebench.errors import DensebenchError


class Segmentor(nn.Module):
    """A backbone with a head of one convolution and a norm."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.decode_head = nn.Sequential(nn.Conv2d(8, 4, 3), nn.BatchNorm2d(4))


@pytest.fixture
def segmentor() -> Segmentor:
    return Segmentor(DenseConvNeXt(depths=(1, 1, 4, 1), dims=(8, 8, 8, 8), layer_scale_init_value=1.0))


def authors_setting(name: str, shape: torch.Size) -> tuple[float, float]:
    """(lr scale, weight decay), restated from ConvNeXt's downstream constructor: stage-wise, rate 0.9, 6 layers."""
    if name.startswith("backbone.downsample_layers"):
        exponent = 7
    elif name.startswith("backbone.stages"):
        exponent = 7 - (int(name.split(".")[2]) + 1)
    else:
        exponent = 0
    return 0.9**exponent, 0.0 if len(shape) == 1 or name.endswith(".bias") else 0.05


def test_the_whole_table_is_the_authors(segmentor: Segmentor) -> None:
    paramwise = {
        "decay_rate": 0.9,
        "decay_type": "stage_wise",
        "num_layers": 6,
        "no_weight_decay": ["one_dimensional"],
    }
    settings = {setting.name: setting for setting in parameter_settings(segmentor, 0.05, paramwise)}
    assert set(settings) == {name for name, _ in segmentor.named_parameters()}
    for name, parameter in segmentor.named_parameters():
        found = (settings[name].lr_scale, settings[name].weight_decay)
        assert found == pytest.approx(authors_setting(name, parameter.shape)), name


def authors_depth(name: str, decay_type: str, num_layers: int) -> int:
    """The layer id of ConvNeXt's downstream constructor, restated for both decay types."""
    parts = name.split(".")
    if parts[1] not in ("downsample_layers", "stages"):
        return num_layers + 1
    stage = int(parts[2])
    if decay_type == "stage_wise":
        return stage + 1 if parts[1] == "stages" else 0
    if parts[1] == "downsample_layers":
        return [0, 2, 3, num_layers][stage]
    return [1, 2, 3 + int(parts[3]) // 3, num_layers][stage]


@pytest.mark.parametrize("decay_type", ["layer_wise", "stage_wise"])
@pytest.mark.parametrize(
    ("backbone", "num_layers"),
    # The recipes' pairs, and T with 12. Layer-wise over 6 layers the authors' ids of S to XL pass the head's.
    [("convnext_t", 6), *((f"convnext_{size}", 12) for size in ("t", "s", "b", "l", "xl"))],
)
def test_every_size_has_the_authors_rates(backbone: str, num_layers: int, decay_type: str) -> None:
    with torch.device("meta"):
        segmentor = Segmentor(backbones.build(backbone, layer_scale_init_value=1.0))
    paramwise = {
        "decay_rate": 0.8,
        "decay_type": decay_type,
        "num_layers": num_layers,
        "no_weight_decay": ["one_dimensional"],
    }
    shapes = {name: parameter.shape for name, parameter in segmentor.named_parameters()}
    for setting in parameter_settings(segmentor, 0.05, paramwise):
        depth = authors_depth(setting.name, decay_type, num_layers)
        exempt = len(shapes[setting.name]) == 1 or setting.name.endswith(".bias")
        expected = (0.8 ** (num_layers + 1 - depth), 0.0 if exempt else 0.05)
        assert (setting.lr_scale, setting.weight_decay) == pytest.approx(expected), setting.name


def test_the_optimizer_gets_it(segmentor: Segmentor) -> None:
    wrapper = build_optim_wrapper(
        segmentor,
        {
            "type": "OptimWrapper",
            "optimizer": {"type": "AdamW", "lr": 1e-4, "betas": (0.9, 0.999), "weight_decay": 0.05},
            "constructor": "LayerDepthOptimWrapperConstructor",
            "paramwise_cfg": {
                "decay_rate": 0.9,
                "decay_type": "stage_wise",
                "num_layers": 6,
                "no_weight_decay": ["one_dimensional"],
            },
        },
    )
    by_parameter = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in wrapper.param_groups
        for parameter in group["params"]
    }
    assert {id(parameter) for parameter in segmentor.parameters()} <= set(by_parameter)
    for name, parameter in segmentor.named_parameters():
        scale, weight_decay = authors_setting(name, parameter.shape)
        assert by_parameter[id(parameter)] == pytest.approx((1e-4 * scale, weight_decay)), name


def test_the_scales_of_response_normalization_are_exempt() -> None:
    segmentor = Segmentor(DenseConvNeXtV2(depths=(1, 1, 1, 1), dims=(8, 8, 8, 8)))
    settings = parameter_settings(segmentor, 0.05, {"no_weight_decay": ["one_dimensional", ".grn."]})
    decayed = {setting.name for setting in settings if setting.weight_decay > 0}
    assert "backbone.stages.0.0.pwconv1.weight" in decayed and not any("grn" in name for name in decayed)


def test_norms_and_named_parameters_can_be_exempt(segmentor: Segmentor) -> None:
    paramwise = {"no_weight_decay": ["norms", "dwconv.weight"]}
    exempt = {setting.name for setting in parameter_settings(segmentor, 0.05, paramwise) if setting.weight_decay == 0}
    assert "backbone.stages.0.0.norm.weight" in exempt and "decode_head.1.bias" in exempt
    assert "backbone.downsample_layers.0.1.weight" in exempt
    assert "backbone.stages.0.0.dwconv.weight" in exempt
    assert "backbone.stages.0.0.dwconv.bias" not in exempt and "decode_head.0.bias" not in exempt
    assert "backbone.stages.0.0.gamma" not in exempt


def test_frozen_parameters_are_left_out(segmentor: Segmentor) -> None:
    segmentor.backbone.downsample_layers.requires_grad_(False)
    names = [setting.name for setting in parameter_settings(segmentor, 0.05, {})]
    assert names and not any("downsample" in name for name in names)


def test_a_backbone_without_layer_depth_is_told_the_way_out() -> None:
    segmentor = Segmentor(nn.Conv2d(3, 8, 3))
    paramwise = {"decay_rate": 0.9, "decay_type": "stage_wise", "num_layers": 6}
    with pytest.raises(DensebenchError, match=r"no method layer_depth.*decay_rate=1\.0"):
        parameter_settings(segmentor, 0.05, paramwise)
    assert all(setting.lr_scale == 1 for setting in parameter_settings(segmentor, 0.05, {}))


def test_an_unmatched_parameter_never_gets_the_heads_rate(segmentor: Segmentor) -> None:
    segmentor.backbone.added = nn.Linear(2, 2)
    paramwise = {"decay_rate": 0.9, "decay_type": "stage_wise", "num_layers": 6}
    with pytest.raises(DensebenchError, match=r"no parameter 'added\.weight'"):
        parameter_settings(segmentor, 0.05, paramwise)


def test_a_depth_out_of_range_is_refused(segmentor: Segmentor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentor.backbone, "layer_depth", lambda name, decay_type, num_layers: 99)
    paramwise = {"decay_rate": 0.9, "decay_type": "stage_wise", "num_layers": 6}
    with pytest.raises(DensebenchError, match="valid is 0 to 7"):
        parameter_settings(segmentor, 0.05, paramwise)


def test_biases_at_another_rate_and_without_decay(segmentor: Segmentor) -> None:
    """As FCOS trains: those of norms are no biases."""
    paramwise = {"decay_rate": 1.0, "bias_lr_factor": 2.0, "no_weight_decay": ["biases"]}
    settings = {setting.name: setting for setting in parameter_settings(segmentor, 1e-4, paramwise)}
    assert (settings["decode_head.0.bias"].lr_scale, settings["decode_head.0.bias"].weight_decay) == (2.0, 0.0)
    for name in ("decode_head.0.weight", "decode_head.1.bias", "decode_head.1.weight"):
        assert (settings[name].lr_scale, settings[name].weight_decay) == (1.0, 1e-4), name
    wrapper = {
        "type": "OptimWrapper",
        "optimizer": {"type": "SGD", "lr": 0.01, "weight_decay": 1e-4},
        "constructor": "LayerDepthOptimWrapperConstructor",
        "paramwise_cfg": paramwise,
    }
    groups = build_optim_wrapper(segmentor, wrapper).param_groups
    assert {(group["lr"], group["weight_decay"]) for group in groups} == {(0.02, 0.0), (0.01, 1e-4)}

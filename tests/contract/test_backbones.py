"""One contract over every registered backbone: levels, gradients, modes, state, pickling, precision, frozen stages."""

import io
import pickle
import re
from collections.abc import Iterable

import pytest
import torch
from torch import nn

import backbones

SIZES = [(64, 96), (65, 97)]

# Numerics run on the smallest variant of each family, and where its blocks differ on one of each kind.
NUMERIC_NAMES = (
    "convnext_t",
    "convnext_t_k31",
    "replknet_3",
    "convnextv2_atto",
    "swin_t",
    "resnet50",
    "resnext101_32x4d",
    "convnext_iso_s",
    "mobilenetv2_k3",
    "mobilenetv2_last_k7_rep",
    "roadmap_resnet50_resnet",
    "roadmap_resnet50_fewer_norms",
    "roadmap_resnet50_separate_downsampling",
)

# Of a level's norm. One rounding to bfloat16 is up to 0.004; with statistics of two batches ResNet-50 has 0.064.
BFLOAT16_ERROR = 0.08
# Untrained ResNets add to it from layer to layer, at the last level up to 0.11 in 101 and 0.17 in 152 layers.
DEEP_BFLOAT16_ERRORS = {"resnet101": 0.15, "resnet152": 0.25}


def on_meta(name: str, **arguments: object) -> nn.Module:
    with torch.device("meta"):
        return backbones.build(name, **arguments)


def check_levels(backbone: nn.Module, maps: tuple[torch.Tensor, ...], size: tuple[int, int]) -> None:
    assert len(maps) == len(backbone.out_channels) == len(backbone.out_strides) == len(backbone.out_indices)
    for level, channels, stride in zip(maps, backbone.out_channels, backbone.out_strides, strict=True):
        assert level.shape[:2] == (2, channels)
        for found, length in zip(level.shape[2:], size, strict=True):
            assert found in (length // stride, -(-length // stride))


@pytest.mark.parametrize("name", backbones.names())
def test_levels_and_layers_on_the_meta_device(name: str) -> None:
    backbone = on_meta(name, drop_path_rate=0.1)
    for size in SIZES:
        with torch.no_grad():
            check_levels(backbone, backbone(torch.zeros(2, 3, *size, device="meta")), size)
    assert list(backbone.out_strides) == sorted(backbone.out_strides)

    for decay_type in ("layer_wise", "stage_wise"):
        for num_layers in (6, 12):
            depths = {key: backbone.layer_depth(key, decay_type, num_layers) for key, _ in backbone.named_parameters()}
            assert set(depths.values()) <= set(range(num_layers + 2))
            assert min(depths.values()) == 0
    with pytest.raises(ValueError, match="no_such_parameter"):
        backbone.layer_depth("no_such_parameter", "layer_wise", 12)


@pytest.mark.parametrize("name", backbones.names())
def test_frozen_stages_stay_frozen(name: str) -> None:
    stages = parameter_stages(on_meta(name))
    assert min(stages.values()) == 0
    backbone = on_meta(name, frozen_stages=1).train()
    assert {key for key, parameter in backbone.named_parameters() if not parameter.requires_grad} == {
        key for key, stage in stages.items() if stage <= 1
    }
    for module in backbone.modules():
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            assert not module.training
    assert any(module.training for module in backbone.modules())


def parameter_stages(backbone: nn.Module) -> dict[str, int]:
    return {key: backbone.stage_of(key) for key, _ in backbone.named_parameters()}


@pytest.mark.parametrize("name", NUMERIC_NAMES)
def test_numerics_of_the_smallest(name: str) -> None:
    check_numerics(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in backbones.names() if name not in NUMERIC_NAMES])
def test_numerics_of_the_rest(name: str) -> None:
    check_numerics(name)


def check_numerics(name: str) -> None:
    """Gradients, modes, drop path, state, pickling and bfloat16 of one backbone with real weights."""
    torch.manual_seed(0)
    backbone = backbones.build(name, drop_path_rate=0.0)
    for size in SIZES:
        check_gradients(backbone.train(), size)
    backbone.zero_grad()
    check_drop_path(name)
    check_state_pickling_and_precision(backbone.eval(), name)


def check_gradients(backbone: nn.Module, size: tuple[int, int]) -> None:
    maps = backbone(torch.randn(2, 3, *size))
    check_levels(backbone, maps, size)
    sum(level.square().mean() for level in maps).backward()
    gradients = {key: parameter.grad for key, parameter in backbone.named_parameters()}
    without = [key for key, gradient in gradients.items() if gradient is None or not gradient.isfinite().all()]
    assert not without


@torch.no_grad()
def check_drop_path(name: str) -> None:
    backbone = backbones.build(name, drop_path_rate=0.9)
    image = torch.randn(2, 3, 64, 96)
    backbone.train()
    # Drop path leaves out residual branches; without shortcuts there are none.
    assert torch.equal(backbone(image)[-1], backbone(image)[-1]) == name.endswith("_noshortcut")
    backbone.eval()
    assert all(torch.equal(a, b) for a, b in zip(backbone(image), backbone(image), strict=True))


@torch.no_grad()
def check_state_pickling_and_precision(backbone: nn.Module, name: str) -> None:
    image = torch.randn(2, 3, 64, 96)
    expected = backbone(image)
    twin = on_meta(name).to_empty(device="cpu")
    twin.load_state_dict(backbone.state_dict(), strict=True)
    copy_tables(backbone, twin)
    assert all(torch.equal(a, b) for a, b in zip(expected, twin.eval()(image), strict=True))
    del twin
    unpickled = pickle.load(io.BytesIO(pickle.dumps(backbone)))
    assert all(torch.equal(a, b) for a, b in zip(expected, unpickled(image), strict=True))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = backbone(image)
    errors = [(level.float() - exact).norm() / exact.norm() for level, exact in zip(rounded, expected, strict=True)]
    assert max(errors) < DEEP_BFLOAT16_ERRORS.get(name, BFLOAT16_ERROR)


def copy_tables(source: nn.Module, target: nn.Module) -> None:
    """Buffers that a state dict leaves out, such as Swin's relative position index."""
    own = dict(target.named_buffers())
    for name, buffer in source.named_buffers():
        own[name].copy_(buffer)


def test_every_family_has_a_numeric_test() -> None:
    def families(names: Iterable[str]) -> set[str]:
        # `convnext_iso` is a family of its own; `resnet152` and `resnet50` are one.
        return {re.match(r"convnext_iso|[a-z]+(?:v2)?(?=[_\d])", name).group() for name in names}

    assert families(backbones.names()) == families(NUMERIC_NAMES)

"""Nothing is spent on values that nobody looks at: on the meta device, and where a checkpoint fills all of them."""

from typing import Any

import pytest
import timm.layers
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import backbones
from backbones.layers.initial_values import on_meta_device, unset_parameters
from densebench.meta_device import build_on_meta


class Operators(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["convnext_t", "replknet_31b", "swin_t", "resnet50", "mobilenetv2_k13"])
def test_no_values_are_computed(name: str) -> None:
    with Operators() as operators:
        module, device = build_on_meta(backbones.backbone_config(name))
    assert device == "meta"
    assert not {"normal_", "uniform_", "erfinv_", "mul_", "zero_"} & operators.names
    assert all(parameter.is_meta for parameter in module.parameters())


def test_initialization_returns_the_tensor_it_was_given() -> None:
    with on_meta_device():
        weight = nn.Parameter(torch.empty(3, 4))
        assert nn.init.normal_(weight) is weight
        assert timm.layers.trunc_normal_(weight, std=0.02) is weight
        assert weight.shape == (3, 4) and weight.requires_grad


def test_tensors_elsewhere_keep_their_values() -> None:
    here = torch.zeros(2)
    with on_meta_device():
        here.fill_(3.0).mul_(2)
    assert here.tolist() == [6.0, 6.0]


@pytest.mark.parametrize("name", ["convnext_t", "replknet_3", "swin_t", "resnet50", "timm/resnet18"])
def test_a_filled_backbone_is_whole_without_initial_values(name: str) -> None:
    drawn = backbones.build(name)
    with unset_parameters(), Operators() as operators:
        filled = backbones.build(name)
    assert not {"normal_", "uniform_", "erfinv_"} & operators.names
    assert [key for key, _ in filled.named_buffers()] == [key for key, _ in drawn.named_buffers()]
    for (key, buffer), expected in zip(filled.named_buffers(), drawn.buffers(), strict=True):
        assert torch.equal(buffer, expected), key
    filled.load_state_dict(
        {key: value for key, value in drawn.state_dict().items() if key in dict(drawn.named_parameters())}, strict=False
    )
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for ours, expected in zip(filled.eval()(image), drawn.eval()(image), strict=True):
            assert torch.equal(ours, expected)

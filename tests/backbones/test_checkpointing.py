"""Gradient checkpointing, in every family that has it: the same gradients and statistics, and less memory."""

import pytest
import torch
from torch import nn

import backbones
from densebench.cost.memory import allocated_peak_bytes

FAMILIES = {
    "convnext_t": {"depths": (1, 1, 2, 1), "dims": (16, 24, 32, 48)},
    "convnextv2_atto": {"depths": (1, 1, 2, 1), "dims": (16, 24, 32, 48)},
    "mobilenetv2_k3": {"width": 0.25},
    "swin_t": {"embed_dim": 12, "num_heads": (1, 2, 3, 4)},
    "resnet50": {"depths": (1, 1, 1, 1)},
    "roadmap_resnet50_kernel_size_7": {},
    "replknet_3": {"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 16)},
}


def step(backbone: nn.Module, image: torch.Tensor) -> None:
    torch.manual_seed(1)  # of drop path
    sum(level.square().mean() for level in backbone(image)).backward()


@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_gradients_and_statistics_in_less_memory(name: str) -> None:
    torch.manual_seed(0)
    plain = backbones.build(name, **FAMILIES[name], drop_path_rate=0.2)
    saving = backbones.build(name, **FAMILIES[name], drop_path_rate=0.2, use_checkpoint=True)
    saving.load_state_dict(plain.state_dict())
    image = torch.randn(2, 3, 64, 96)
    for backbone in (plain, saving):
        step(backbone.train(), image)
    for (key, wanted), found in zip(plain.named_parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(found.grad, wanted.grad, msg=key)
    assert all(torch.equal(value, saving.state_dict()[key]) for key, value in plain.state_dict().items())

    # Gradients are there already, so that the peaks are those of the maps.
    peaks = [allocated_peak_bytes(lambda backbone=backbone: step(backbone, image)) for backbone in (plain, saving)]
    assert peaks[1] < 0.9 * peaks[0]

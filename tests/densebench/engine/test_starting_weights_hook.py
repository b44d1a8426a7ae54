"""timm's weights in our backbones and in timm's own; timm is stood in for, as its weights come over the network."""

from typing import Any

import pytest
import timm
import torch

import backbones
import densebench.registration  # noqa: F401
from densebench.engine.hooks import load_starting_weights
from densebench.errors import DensebenchError
from densebench.starting_weights import TIMM_TWINS, StartingWeights

SMALL = ["convnext_t", "convnextv2_atto", "swin_t", "resnet50", "resnext101_32x4d", "mobilenetv2_k3"]


@pytest.fixture
def random_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def without_network(name: str, pretrained: bool = False, **arguments: Any) -> torch.nn.Module:
        return create(name, **arguments)

    monkeypatch.setattr(timm, "create_model", without_network)


@pytest.mark.parametrize("name", [*SMALL, "timm/resnet18"])
def test_timm_weights_fill_the_backbone(name: str, random_timm: None) -> None:
    backbone = backbones.build(name)
    weights = StartingWeights(name="timm:tag", timm_model=TIMM_TWINS.get(name, "resnet18"))
    report = load_starting_weights(backbone, weights, allow_partial=False)
    # New are the output norms alone; Swin's and ConvNeXt's ImageNet form has one of its own for the classifier.
    assert all(missing.startswith("norm") for missing in report.missing)
    assert report.matched_percent > 99.5 and not report.other_shape


def test_every_twin_is_a_timm_model_and_a_backbone_of_ours() -> None:
    assert set(TIMM_TWINS) <= set(backbones.names())
    assert all(timm.is_model(name) for name in TIMM_TWINS.values())


def test_out_of_reach_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*args: Any, **kwargs: Any) -> None:
        raise OSError("no route to the hub")

    monkeypatch.setattr(timm, "create_model", no_network)
    weights = StartingWeights(name="timm:tag", timm_model="resnet18")
    with pytest.raises(DensebenchError, match=r"no route to the hub.*--pretrained FILE"):
        load_starting_weights(torch.nn.Identity(), weights, allow_partial=False)

"""Merging at test time: equal outputs, told apart from backbones that have nothing to merge."""

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

import densebench.registration  # noqa: F401
from densebench.merging import merge_backbone
from densebench.recipe import RunOptions, resolve


def segmentor(backbone: str) -> torch.nn.Module:
    options = {"model.decode_head.channels": 8, "model.auxiliary_head.channels": 8}
    options = RunOptions("upernet_convnext_t_ade20k", backbone=backbone, pretrained="none", cfg_options=options)
    with DefaultScope.overwrite_default_scope("mmseg"):
        return MODELS.build(resolve(options, with_data=False).config.model).eval()


def test_a_merged_backbone_predicts_the_same() -> None:
    torch.manual_seed(0)
    model = segmentor("mobilenetv2_k9_rep")
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = model(image, mode="tensor")
        assert merge_backbone(model, wanted=False) is False
        parameters = sum(parameter.numel() for parameter in model.parameters())
        assert merge_backbone(model, wanted=True) is True
        torch.testing.assert_close(model(image, mode="tensor"), before, rtol=1e-4, atol=1e-5)
    assert sum(parameter.numel() for parameter in model.parameters()) < parameters


@pytest.mark.parametrize("wanted", [True, False])
def test_nothing_to_merge(wanted: bool) -> None:
    assert merge_backbone(segmentor("convnextv2_atto"), wanted) is None

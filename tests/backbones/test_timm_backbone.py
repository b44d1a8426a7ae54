"""timm models as backbones: levels, names, layer groups, clear refusals."""

import pytest
import timm
import torch

import backbones
from backbones.timm_backbone import NoPyramidError, timm_accepts


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "efficientnet_b0", "mobilenetv2_100", "pvt_v2_b0"])
def test_levels_names_and_layer_groups(name: str) -> None:
    backbone = backbones.build(f"timm/{name}", drop_path_rate=0.1).eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, 64, 96))
    assert backbone.out_strides == (4, 8, 16, 32)
    assert [level.shape[1] for level in maps] == list(backbone.out_channels)
    assert [tuple(level.shape[2:]) for level in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]

    timm_names = {f"model.{key}" for key in timm.create_model(name, num_classes=0).state_dict()}
    assert set(backbone.state_dict()) <= timm_names
    for decay_type in ("layer_wise", "stage_wise"):
        depths = [backbone.layer_depth(key, decay_type, 12) for key, _ in backbone.named_parameters()]
        assert min(depths) == 0 and max(depths) <= 13
        assert depths[0] == 0 and depths[-1] == max(depths)


def test_equals_the_timm_model_itself() -> None:
    torch.manual_seed(0)
    backbone = backbones.build("timm/resnet18").eval()
    twin = timm.create_model("resnet18", features_only=True, out_indices=(1, 2, 3, 4)).eval()
    twin.load_state_dict({key.removeprefix("model."): value for key, value in backbone.state_dict().items()})
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for found, wanted in zip(backbone(image), twin(image), strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def test_a_window_transformer_takes_any_size() -> None:
    backbone = backbones.build("timm/swin_tiny_patch4_window7_224").eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, 64, 96))
    assert [tuple(level.shape[1:]) for level in maps] == [(96, 16, 24), (192, 8, 12), (384, 4, 6), (768, 2, 3)]


def test_a_flat_transformer_is_refused_with_its_strides() -> None:
    with pytest.raises(NoPyramidError, match=r"strides \[16\].*flat model.*Choose a model with four levels"):
        backbones.build("timm/vit_tiny_patch16_224")


def test_arguments_that_a_model_does_not_know() -> None:
    assert timm_accepts("resnet18", "drop_path_rate", 0.1)
    assert not timm_accepts("vgg11", "drop_path_rate", 0.1)

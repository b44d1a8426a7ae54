"""What a user's backbone states of its maps is held against the maps, wherever its file lies."""

from collections.abc import Callable, Iterator
from typing import Any

import mmseg.registry
import pytest
import timm.models
from mmengine.registry import MODELS
from torch import Tensor, nn

import backbones
from backbones.convnext import DenseConvNeXt
from densebench import channels
from densebench.channels import OWN_MODULES, backbone_channels, has_known_parts, is_own
from densebench.errors import DensebenchError
from densebench.recipe import RunOptions, resolve


class Mine(nn.Module):
    """Two maps at strides 4 and 8."""

    out_channels, out_strides, out_indices = (8, 16), (4, 8), (0, 1)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stage = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 16, 2, 2)

    def forward(self, image: Tensor) -> Any:
        stem = self.stem(image)
        return stem, self.stage(stem)


class WrongChannels(Mine):
    out_channels = (8, 32)


class WrongStride(Mine):
    out_strides = (4, 16)


class Silent(nn.Conv2d):
    def __init__(self) -> None:
        super().__init__(3, 8, 4)


class OneMap(Mine):
    def forward(self, image: Tensor) -> Tensor:
        return self.stem(image)


class Numbers(Mine):
    out_channels, out_strides, out_indices = 8, 4, 0  # type: ignore[assignment]


class Tokens(Mine):
    def forward(self, image: Tensor) -> Any:
        return tuple(level.flatten(2) for level in super().forward(image))


class Careless(Mine):
    def forward(self, image: Tensor) -> Any:
        return image.no_such_method()


class FewerMaps(Mine):
    def forward(self, image: Tensor) -> Any:
        return super().forward(image)[1:]


class OneSize(Mine):
    def forward(self, image: Tensor) -> Any:
        assert image.shape[2:] == (224, 224)
        return super().forward(image)


# Files of a user may lie in backbones/, where every module is imported.
@pytest.fixture(params=["a_package.models", "backbones.mine"])
def registered(request: pytest.FixtureRequest) -> Iterator[Callable[[type], dict[str, Any]]]:
    def register(backbone: type) -> dict[str, Any]:
        backbone.__module__ = request.param
        MODELS.register_module(name="mine", module=backbone)
        return {"type": "mine"}

    yield register
    MODELS.module_dict.pop("mine")


def test_channels_of_a_users_backbone(registered: Callable[[type], dict[str, Any]]) -> None:
    assert backbone_channels(registered(Mine)) == (8, 16)


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (WrongChannels, r"'mine', level 1: stated are 32 channels at stride 8, found 16 channels of 8x12"),
        (WrongStride, r"'mine', level 1: stated are 16 channels at stride 16, found 16 channels of 8x12"),
        (Silent, r"'mine' has no attribute `out_strides`"),
        (Numbers, r"'mine' has out_channels = 8; a tuple"),
        (Tokens, r"'mine' returns feature maps of the shapes \(1, 8, 384\), \(1, 16, 96\)"),
        (Careless, r"'mine' cannot take an image of 64x96 pixels"),
        (FewerMaps, r"'mine' returns 1 feature maps; .* have 2, 2 and 2 entries"),
        (OneMap, r"'mine' returns a Tensor; a tuple"),
        (OneSize, r"'mine' cannot take an image of 64x96 pixels"),
    ],
)
def test_backbones_that_break_the_contract(
    registered: Callable[[type], dict[str, Any]], backbone: type, message: str
) -> None:
    with pytest.raises(DensebenchError, match=message):
        backbone_channels(registered(backbone))


def test_our_own_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("tried")

    monkeypatch.setattr(channels, "_checked_channels", refuse)
    assert backbone_channels({"type": "convnext_t"}) == (96, 192, 384, 768)
    assert backbone_channels({"type": "TimmBackbone", "model_name": "resnet18"}) == (64, 128, 256, 512)


def test_every_registered_backbone_is_told_from_a_users() -> None:
    assert all(is_own(backbones.backbone_config(name)) for name in backbones.names())
    assert {MODELS.get(name).func.__module__ for name in backbones.names()} | {"backbones.timm_backbone"} == OWN_MODULES

    class Variant(DenseConvNeXt):
        __module__ = "backbones.mine"

    assert not is_own({"type": Variant}) and is_own({"type": DenseConvNeXt})


def test_a_model_with_a_users_part_is_told() -> None:
    for recipe in ("upernet_convnext_t_ade20k", "mask_rcnn_convnext_t_coco", "deeplabv3plus_mobilenetv2_k3_cityscapes"):
        model = resolve(RunOptions(recipe, pretrained="none"), with_data=False).config.model
        assert has_known_parts(model)
    assert has_known_parts({"backbone": {"type": "TimmBackbone", "model_name": "resnet18.a1_in1k"}})
    assert not has_known_parts({"heads": [{"type": "FCNHead"}, {"type": Mine}]})


@pytest.mark.parametrize("registry", [MODELS, mmseg.registry.MODELS])
def test_a_users_head_is_told_by_its_name(registry: Any) -> None:
    registry.register_module(name="my_head", module=Mine)
    try:
        for name in ("my_head", "mmseg.my_head"):
            assert not has_known_parts({"type": "EncoderDecoder", "decode_head": {"type": name}})
    finally:
        registry.module_dict.pop("my_head")


def test_a_users_timm_model_is_told() -> None:
    def mine(**_: Any) -> nn.Module:
        return nn.Identity()

    mine.__name__, mine.__module__ = "my_timm_model", __name__
    timm.models.register_model(mine)
    assert not has_known_parts({"type": "TimmBackbone", "model_name": "my_timm_model"})

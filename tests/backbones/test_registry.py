"""The names: found, unknown, unique across the toolboxes, and an author's own class."""

import re

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

import backbones


def test_a_class_of_ones_own_takes_one_line(forget_names: None) -> None:
    @backbones.register("pyramid_of_mine", width=8)
    @backbones.register("pyramid_of_mine_wide", width=16)
    class Pyramid(nn.Module):
        def __init__(self, width: int, drop_path_rate: float = 0.0) -> None:
            super().__init__()
            self.width = width

    assert backbones.build("pyramid_of_mine").width == 8
    assert backbones.build("pyramid_of_mine_wide", drop_path_rate=0.1).width == 16
    assert MODELS.build({"type": "pyramid_of_mine"}).width == 8
    assert backbones.accepted_arguments("pyramid_of_mine") == {"width", "drop_path_rate"}


def test_a_name_is_taken_once(forget_names: None) -> None:
    with pytest.raises(KeyError, match="convnext_t"):
        backbones.register("convnext_t")(nn.Identity)


def test_names_come_in_the_order_in_which_they_are_written() -> None:
    names = backbones.names()
    assert [name for name in names if re.fullmatch("convnext_[a-z]+", name)] == [
        f"convnext_{size}" for size in ("t", "s", "b", "l", "xl")
    ]
    steps = [name for name in names if name.startswith("roadmap_resnet50")]
    assert steps[:3] == [f"roadmap_resnet50_{step}" for step in ("resnet", "stage_ratio", "patchify_stem")]


def test_unknown_names_list_near_matches() -> None:
    with pytest.raises(backbones.UnknownBackboneError, match="near matches: convnext_t"):
        backbones.build("convnex_t")
    with pytest.raises(backbones.UnknownBackboneError, match="timm/resnet18"):
        backbones.build("timm/resnet81")


def test_unknown_arguments_are_an_error() -> None:
    with torch.device("meta"), pytest.raises(TypeError, match="window_size"):
        backbones.build("convnext_t", window_size=7)


@pytest.mark.parametrize("name", ["convnext_t", "timm/resnet18", "timm/resnet18.a1_in1k"])
def test_config_and_name_are_inverse(name: str) -> None:
    assert backbones.backbone_name(backbones.backbone_config(name)) == name


def test_registered_names_are_unique_across_the_toolboxes() -> None:
    from mmdet.registry import MODELS as DETECTION
    from mmdet.utils import register_all_modules
    from mmseg.registry import MODELS as SEGMENTATION

    import densebench.registration  # noqa: F401

    register_all_modules(init_default_scope=False)
    ours = {name for name, builder in MODELS.module_dict.items() if _is_ours(builder)}
    assert set(backbones.names()) <= ours
    assert not ours & (set(DETECTION.module_dict) | set(SEGMENTATION.module_dict))


def _is_ours(builder: object) -> bool:
    module = getattr(getattr(builder, "func", builder), "__module__", "")
    return module.startswith(("backbones", "densebench"))

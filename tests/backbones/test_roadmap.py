"""The modernization roadmap: one change a step, published multiply-adds, from ResNet itself to ConvNeXt itself."""

import re
from dataclasses import fields, replace
from itertools import pairwise

import pytest
import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.resnet import Bottleneck, ResNet

import backbones
from backbones.convnext import DenseConvNeXt
from backbones.roadmap import RESNET50, RESNET200, RoadmapBackbone, Step

# GFLOPs at 224x224 with the classifier: ConvNeXt, tables 10 and 11.
PUBLISHED = {
    "resnet": (4.09, 15.01),
    "stage_ratio": (4.53, 14.52),
    "patchify_stem": (4.42, 14.38),
    "depthwise_conv": (2.35, 7.23),
    "increase_width": (5.27, 16.76),
    "inverting_dimensions": (4.64, 15.68),
    "move_up_depthwise_conv": (4.07, 14.63),
    "kernel_size_5": (4.10, 14.70),
    "kernel_size_7": (4.15, 14.81),
    "kernel_size_9": (4.21, 14.95),
    "kernel_size_11": (4.29, 15.13),
    "relu_to_gelu": (4.15, 14.81),
    "fewer_activations": (4.15, 14.81),
    "fewer_norms": (4.15, 14.81),
    "bn_to_ln": (4.46, 14.81),
    "separate_downsampling": (4.49, 15.35),
}
# The two tables contradict each other on the last steps. Exchanging norms adds no convolution, and table 11 has the
# rise where the convolutions change, at the last step; table 10 has it a step early, with the figure that the last step
# comes to by convolutions alone (4.46), and for the last step a count (4.49) that holds more than these.
KNOWN = {"roadmap_resnet50_bn_to_ln": 4.146, "roadmap_resnet50_separate_downsampling": 4.456}

SMALL = {"depths": (1, 2, 3, 1), "width": 8}


def test_every_step_is_registered_for_both_networks() -> None:
    found = [name for name in backbones.names() if name.startswith("roadmap")]
    assert found == [f"roadmap_{start}_{step}" for start in ("resnet50", "resnet200") for step in PUBLISHED]


@pytest.mark.parametrize("steps", [RESNET50, RESNET200], ids=["resnet50", "resnet200"])
def test_each_step_changes_one_thing(steps: dict[str, Step]) -> None:
    def changed(before: Step, after: Step) -> list[str]:
        return [field.name for field in fields(Step) if getattr(before, field.name) != getattr(after, field.name)]

    on_the_road = {name: step for name, step in steps.items() if name not in ("kernel_size_9", "kernel_size_11")}
    for (_, before), (name, after) in pairwise(on_the_road.items()):
        both = name == "stage_ratio" and steps is RESNET200  # "stage ratio and increase width" in table 11
        assert len(changed(before, after)) == (2 if both else 1)
    for name in ("kernel_size_9", "kernel_size_11"):
        assert changed(steps["kernel_size_7"], steps[name]) == ["kernel_size"]


def gflops(backbone: RoadmapBackbone) -> float:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        backbone(torch.zeros(1, 3, 224, 224, device="meta"))
    return (counter.get_total_flops() / 2 + backbone.out_channels[-1] * 1000) / 1e9


@pytest.mark.parametrize(
    ("name", "published"),
    [
        (f"roadmap_{start}_{step}", values[index])
        for index, start in enumerate(("resnet50", "resnet200"))
        for step, values in PUBLISHED.items()
    ],
)
def test_published_multiply_adds(name: str, published: float) -> None:
    with torch.device("meta"):
        backbone = backbones.build(name)
    if name in KNOWN:
        assert gflops(backbone) == pytest.approx(KNOWN[name], abs=1e-3)
    else:
        assert round(gflops(backbone), 2) == published


@pytest.mark.parametrize(("start", "convnext"), [("resnet50", "convnext_t"), ("resnet200", "convnext_b")])
def test_the_last_step_has_the_size_of_convnext(start: str, convnext: str) -> None:
    with torch.device("meta"):
        last = backbones.build(f"roadmap_{start}_separate_downsampling", layer_scale_init_value=1e-6)
        target = backbones.build(convnext)
    sizes = [sum(parameter.numel() for parameter in backbone.parameters()) for backbone in (last, target)]
    assert sizes[0] == sizes[1]
    assert gflops(last) == gflops(target)
    assert last.out_channels == target.out_channels


def convnext_name(name: str) -> str:
    """The name in ConvNeXt of a parameter of the last step."""
    for ours, theirs in (("conv1", "dwconv"), ("norm1", "norm"), ("conv2", "pwconv1"), ("conv3", "pwconv2")):
        name = re.sub(rf"^(stages\.\d+\.\d+)\.{ours}\.", rf"\1.{theirs}.", name)
    return name


def resnet_name(name: str) -> str:
    """The name in torchvision's ResNet of a parameter of the first step."""
    for ours, theirs in (
        (r"downsample_layers\.0\.0\.", "conv1."),
        (r"downsample_layers\.0\.1\.", "bn1."),
        (r"\.norm(\d)\.", r".bn\1."),
        (r"\.shortcut\.", ".downsample."),
    ):
        name = re.sub(ours, theirs, name)
    return re.sub(r"^stages\.(\d)", lambda stage: f"layer{int(stage[1]) + 1}", name)


def resnet_maps(resnet: ResNet, image: Tensor) -> list[Tensor]:
    x = resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(image))))
    return [x := resnet.get_submodule(f"layer{stage}")(x) for stage in (1, 2, 3, 4)]


@pytest.mark.parametrize("training", [True, False])
def test_the_first_step_equals_torchvisions_resnet(training: bool) -> None:
    torch.manual_seed(0)
    ours = RoadmapBackbone(replace(RESNET50["resnet"], depths=(1, 2, 1, 1))).train(training)
    for module in ours.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    twin = ResNet(Bottleneck, [1, 2, 1, 1]).train(training)
    state = {resnet_name(name): value for name, value in ours.state_dict().items()}
    missing, unexpected = twin.load_state_dict(state, strict=False)
    assert missing == ["fc.weight", "fc.bias"] and not unexpected
    assert_equal_maps(ours, lambda image: resnet_maps(twin, image))


def test_the_last_step_equals_convnext() -> None:
    torch.manual_seed(0)
    ours = RoadmapBackbone(replace(RESNET50["separate_downsampling"], **SMALL), layer_scale_init_value=1.0)
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.2)
    twin = DenseConvNeXt(depths=SMALL["depths"], dims=(8, 16, 32, 64), layer_scale_init_value=1.0)
    shapes = {name: value.shape for name, value in twin.state_dict().items()}
    state = {convnext_name(name): value for name, value in ours.state_dict().items()}
    twin.load_state_dict({name: value.reshape(shapes[name]) for name, value in state.items()})
    assert_equal_maps(ours, twin)


def assert_equal_maps(ours: nn.Module, twin: object) -> None:
    image = torch.randn(2, 3, 64, 96, requires_grad=True)
    twin_image = image.detach().clone().requires_grad_()
    maps, expected = ours(image), twin(twin_image)
    sum(level.square().mean() for level in maps).backward()
    sum(level.square().mean() for level in expected).backward()
    for found, wanted in zip(maps, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(image.grad, twin_image.grad, rtol=1e-4, atol=1e-5)


def test_layer_depth_of_the_last_step_is_convnexts() -> None:
    for start, convnext, num_layers in (("resnet50", "convnext_t", 6), ("resnet200", "convnext_b", 12)):
        with torch.device("meta"):
            last = backbones.build(f"roadmap_{start}_separate_downsampling", layer_scale_init_value=1e-6)
            target = backbones.build(convnext)
        for decay_type in ("layer_wise", "stage_wise"):
            for name, _ in last.named_parameters():
                expected = target.layer_depth(convnext_name(name), decay_type, num_layers)
                assert last.layer_depth(name, decay_type, num_layers) == expected
                assert last.stage_of(name) == target.stage_of(convnext_name(name))
    with pytest.raises(ValueError, match="decay_type"):
        last.layer_depth("stages.0.0.conv1.weight", "block_wise", 12)


@pytest.mark.parametrize(
    ("step", "kind"),
    [("fewer_activations", nn.Identity), ("fewer_norms", nn.BatchNorm2d), ("bn_to_ln", LayerNorm2d)],
)
def test_levels_are_normalized_where_blocks_end_without_a_norm(step: str, kind: type[nn.Module]) -> None:
    backbone = RoadmapBackbone(replace(RESNET50[step], **SMALL), out_indices=(1, 3))
    assert [type(backbone.get_submodule(f"norm{index}")) for index in (1, 3)] == [kind, kind]
    assert not hasattr(backbone, "norm0")
    assert backbone.out_channels == (16, 64) and backbone.out_strides == (8, 32)


def test_drop_path_and_layer_scale() -> None:
    step = replace(RESNET50["resnet"], **SMALL)
    backbone = RoadmapBackbone(step, drop_path_rate=0.6, layer_scale_init_value=0.5)
    blocks = [block for stage in backbone.stages for block in stage]
    assert [getattr(block.drop_path, "drop_prob", 0.0) for block in blocks] == pytest.approx(
        [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    )
    assert all(block.gamma.shape == (block.conv3.out_channels,) for block in blocks)
    assert not any(name.endswith("gamma") for name, _ in RoadmapBackbone(step).named_parameters())

"""MobileNetV2 with large kernels: equal to timm's, the published sizes, mergeable kernels, dilation."""

from itertools import pairwise

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import backbones
from backbones.mobilenet import Block, DenseMobileNetV2, DepthwiseConv, name_from_timm, name_from_torchvision

REPARAMETERIZED = [name for name in backbones.names() if name.startswith("mobilenetv2") and name.endswith("_rep")]


def randomize_norms(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)


@pytest.mark.parametrize("training", [True, False])
def test_equals_timm_forward_and_input_gradient(training: bool) -> None:
    """In double precision, where both take torch's convolutions; in single, rounding grows from norm to norm."""
    torch.manual_seed(0)
    twin = timm.create_model("mobilenetv2_100")
    randomize_norms(twin)
    ours = backbones.build("mobilenetv2_k3")
    state = {name_from_timm(name): value for name, value in twin.state_dict().items()}
    state.pop(None)  # the classifier
    ours.load_state_dict(state)
    twin.double().train(training)
    ours.double().train(training)
    image = torch.randn(2, 3, 65, 97, dtype=torch.double, requires_grad=True)
    twin_image = image.detach().clone().requires_grad_()

    maps = ours(image)
    x = twin.bn1(twin.conv_stem(twin_image))
    after_stage = [x := stage(x) for stage in twin.blocks]
    expected = [after_stage[index] for index in (1, 2, 4, 6)]
    sum(level.square().mean() for level in maps).backward()
    sum(level.square().mean() for level in expected).backward()

    for found, wanted in zip(maps, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(image.grad, twin_image.grad, rtol=1e-10, atol=1e-10)
    if not training:
        for found, wanted in zip(ours.float()(image.detach().float()), expected, strict=True):
            assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_names_of_timm_and_torchvision_are_translated_one_to_one() -> None:
    with torch.device("meta"):
        ours = {name: value.shape for name, value in backbones.build("mobilenetv2_k3").state_dict().items()}
        for twin, translate in (
            (timm.create_model("mobilenetv2_100"), name_from_timm),
            (torchvision.models.mobilenet_v2(), name_from_torchvision),
        ):
            theirs = [(translate(name), value.shape) for name, value in twin.state_dict().items()]
            translated = [(name, shape) for name, shape in theirs if name is not None]
            assert dict(translated) == ours and len(translated) == len(ours)
            # 1x1 convolution to 1280 channels, its BN (5 tensors), linear layer
            assert len(theirs) - len(translated) == 1 + 5 + 2


def classifier_size(width: float, **arguments: object) -> tuple[float, float]:
    """Parameters (M) and multiply-adds (M) at 224x224 with the classifier on top."""
    with torch.device("meta"):
        backbone = DenseMobileNetV2(width=width, **arguments)
        image = torch.zeros(1, 3, 224, 224)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        backbone(image)
    channels = backbone.out_channels[-1]
    params = sum(parameter.numel() for parameter in backbone.parameters())
    params += channels * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    return params / 1e6, (counter.get_total_flops() / 2 + 7 * 7 * channels * 1280 + 1280 * 1000) / 1e6


def test_published_size() -> None:
    # mmpretrain: 3.50 M, 0.32 G (it counts norms and activations); MobileNetV2, table 4: 3.4 M, 300 M.
    params_m, flops_m = classifier_size(1.0)
    assert params_m == pytest.approx(3.50, abs=5e-3) and flops_m == pytest.approx(300, rel=5e-3)


@pytest.mark.parametrize(
    ("last_kernel_size", "params_m", "flops_m"),
    [(3, 2.64, 214.5), (7, 2.67, 215.9), (9, 2.69, 217.1), (13, 2.75, 220.2)],
)
def test_published_sizes_of_the_last_stage_variants(last_kernel_size: int, params_m: float, flops_m: float) -> None:
    # arXiv:2410.08049, table 2, which prints the sizes at a width of 0.75 beside the accuracy of, presumably, 1.0.
    found_params_m, found_flops_m = classifier_size(0.75, last_kernel_size=last_kernel_size)
    assert found_params_m == pytest.approx(params_m, abs=5e-3)
    # Known: the published counts hold 5.4 to 5.5 M more, the same at each kernel size; about one per activation.
    assert flops_m - found_flops_m == pytest.approx(5.46, abs=0.06)


def depthwise_kernels(backbone: nn.Module) -> list[tuple[int, int | None]]:
    return [
        (module.conv.kernel_size[0], None if module.small is None else module.small.conv.kernel_size[0])
        for module in backbone.modules()
        if isinstance(module, DepthwiseConv)
    ]


@pytest.mark.parametrize(
    ("name", "kernels"),
    [
        ("mobilenetv2_k3", [(3, None)] * 17),
        ("mobilenetv2_k9_noshortcut", [(9, None)] * 17),
        ("mobilenetv2_k13_rep", [(13, 3)] * 17),
        ("mobilenetv2_last_k3", [(3, None)] * 17),
        ("mobilenetv2_last_k7", [(3, None)] * 16 + [(7, None)]),
        ("mobilenetv2_last_k13_rep", [(3, None)] * 16 + [(13, 3)]),
    ],
)
def test_kernel_sizes(name: str, kernels: list[tuple[int, int | None]]) -> None:
    with torch.device("meta"):
        backbone = backbones.build(name)
    assert depthwise_kernels(backbone) == kernels
    # Blocks whose input and output have the same shape: 2 - 1, 3 - 1, 4 - 1, 3 - 1, 3 - 1 in stages 2 to 6.
    shortcuts = sum(block.shortcut for block in backbone.modules() if isinstance(block, Block))
    assert shortcuts == (0 if name.endswith("_noshortcut") else 10)


@pytest.mark.parametrize("name", [*REPARAMETERIZED, "mobilenetv2_k9_noshortcut"])
def test_merged_kernels_are_equal(name: str) -> None:
    assert_equal_when_merged(backbones.build(name))


def test_merged_kernels_are_equal_where_dilated() -> None:
    assert_equal_when_merged(backbones.build("mobilenetv2_last_k7_rep", output_stride=8))


def assert_equal_when_merged(backbone: DenseMobileNetV2) -> None:
    torch.manual_seed(0)
    randomize_norms(backbone)
    backbone.eval()
    with torch.no_grad():
        image = torch.randn(1, 3, 65, 97)
        expected = backbone(image)
        backbone.merge_reparameterization()
        for found, wanted in zip(backbone(image), expected, strict=True):
            assert (found - wanted).abs().max() <= 1e-4 * wanted.abs().max()
    state = backbone.state_dict()
    assert not any(".small." in name or "running_mean" in name for name in state)
    backbone.merge_reparameterization()
    assert list(backbone.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in backbone.state_dict().items())


def test_nothing_to_merge_without_parallel_kernels() -> None:
    with torch.device("meta"):
        backbone = backbones.build("mobilenetv2_last_k7")
    names = list(backbone.state_dict())
    backbone.merge_reparameterization(fold_norms=False)
    assert list(backbone.state_dict()) == names
    backbone.merge_reparameterization()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())


@pytest.mark.parametrize(
    ("output_stride", "strides", "dilations"),
    [
        # Per stage, of its first block; with 8 these are mmseg's MobileNetV2-D8.
        (32, [1, 2, 2, 2, 1, 2, 1], [1, 1, 1, 1, 1, 1, 1]),
        (16, [1, 2, 2, 2, 1, 1, 1], [1, 1, 1, 1, 1, 2, 2]),
        (8, [1, 2, 2, 1, 1, 1, 1], [1, 1, 1, 2, 2, 4, 4]),
    ],
)
def test_output_stride(output_stride: int, strides: list[int], dilations: list[int]) -> None:
    with torch.device("meta"):
        backbone = backbones.build("mobilenetv2_k9", output_stride=output_stride)
        maps = backbone(torch.zeros(2, 3, 65, 97))
    convolutions = [[block.depthwise.conv for block in stage] for stage in backbone.stages]
    assert [stage[0].stride[0] for stage in convolutions] == strides
    assert [stage[0].dilation[0] for stage in convolutions] == dilations
    assert all(conv.stride == conv.dilation == (1, 1) for stage in convolutions for conv in stage[1:])
    assert backbone.out_strides == tuple(min(stride, output_stride) for stride in (4, 8, 16, 32))
    for level, stride in zip(maps, backbone.out_strides, strict=True):
        assert level.shape[2:] == (-(-65 // stride), -(-97 // stride))


def test_output_indices_and_drop_path() -> None:
    with torch.device("meta"):
        backbone = backbones.build("mobilenetv2_k3", out_indices=(0, 3), drop_path_rate=0.16)
        assert [level.shape[1] for level in backbone(torch.zeros(2, 3, 64, 64))] == [24, 320]
    assert backbone.out_channels == (24, 320) and backbone.out_strides == (4, 32)
    rates = [getattr(block.drop_path, "drop_prob", None) for stage in backbone.stages for block in stage]
    assert [rate for rate in rates if rate] == pytest.approx(
        [index / 100 for index in (2, 4, 5, 7, 8, 9, 11, 12, 14, 15)]
    )


@pytest.mark.parametrize(
    ("parameter", "layer_wise_6", "layer_wise_12", "stage_wise"),
    [
        ("stem.conv.weight", 0, 0, 0),
        ("stages.0.0.depthwise.conv.weight", 1, 1, 0),
        ("stages.1.0.expand.norm.bias", 1, 1, 1),
        ("stages.3.3.project.conv.weight", 4, 7, 3),
        ("stages.4.0.expand.conv.weight", 4, 8, 3),
        ("stages.5.2.depthwise.norm.weight", 6, 11, 4),
        ("stages.6.0.depthwise.small.conv.weight", 6, 12, 4),
    ],
)
def test_layer_depth(parameter: str, layer_wise_6: int, layer_wise_12: int, stage_wise: int) -> None:
    with torch.device("meta"):
        backbone = backbones.build("mobilenetv2_last_k7_rep")
    assert parameter in dict(backbone.named_parameters())
    assert backbone.layer_depth(parameter, "layer_wise", 6) == layer_wise_6
    assert backbone.layer_depth(parameter, "layer_wise", 12) == layer_wise_12
    assert backbone.layer_depth(parameter, "stage_wise", 12) == stage_wise
    assert backbone.stage_of(parameter) == stage_wise


def test_layer_depth_never_falls_from_input_to_output() -> None:
    with torch.device("meta"):
        backbone = backbones.build("mobilenetv2_k3")
    for decay_type in ("layer_wise", "stage_wise"):
        depths = [backbone.layer_depth(name, decay_type, 12) for name, _ in backbone.named_parameters()]
        assert all(before <= after for before, after in pairwise(depths))
    with pytest.raises(ValueError, match="decay_type"):
        backbone.layer_depth("stem.conv.weight", "block_wise", 12)

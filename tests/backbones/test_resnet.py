"""ResNet and ResNeXt: torchvision's names and outputs, the published sizes, dilation, frozen norms."""

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import backbones
from backbones.resnet import DenseResNet

SMALL = {"depths": (1, 2, 3, 1)}


@pytest.mark.parametrize("name", ["resnet50", "resnext101_32x4d"])
def test_names_are_torchvisions(name: str) -> None:
    arguments = (
        {"groups": 32, "width_per_group": 4, "layers": [3, 4, 23, 3]} if "next" in name else {"layers": [3, 4, 6, 3]}
    )
    with torch.device("meta"):
        ours = {key: value.shape for key, value in backbones.build(name).state_dict().items()}
        reference = torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, **arguments).state_dict()
    assert ours == {key: value.shape for key, value in reference.items() if not key.startswith("fc.")}


@pytest.mark.parametrize(("groups", "group_width"), [(1, 64), (32, 4)])
def test_equals_torchvision_forward_and_input_gradient(groups: int, group_width: int) -> None:
    torch.manual_seed(0)
    ours = DenseResNet(**SMALL, groups=groups, group_width=group_width).eval()
    twin = torchvision.models.ResNet(
        torchvision.models.resnet.Bottleneck, list(SMALL["depths"]), groups=groups, width_per_group=group_width
    ).eval()
    missing, unexpected = twin.load_state_dict(ours.state_dict(), strict=False)
    assert set(missing) == {"fc.weight", "fc.bias"} and not unexpected
    image = torch.randn(2, 3, 65, 97, requires_grad=True)
    twin_image = image.detach().clone().requires_grad_()

    maps = ours(image)
    x = twin.maxpool(twin.relu(twin.bn1(twin.conv1(twin_image))))
    expected = []
    for stage in (twin.layer1, twin.layer2, twin.layer3, twin.layer4):
        x = stage(x)
        expected.append(x)
    sum(level.square().mean() for level in maps).backward()
    sum(level.square().mean() for level in expected).backward()
    for found, wanted in zip(maps, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(image.grad, twin_image.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "params_m", "flops_g"),
    [
        # torchvision's model tables (ConvNeXt, tables 8 and 9: 25.6 M, 4.1 G for ResNet-50), with the classifier.
        ("resnet50", 25.56, 4.09),
        ("resnet101", 44.55, 7.80),
        ("resnet152", 60.19, 11.51),
        ("resnext101_32x4d", 44.18, 7.97),  # mmpretrain: 8.03 G, with norms and activations counted
        ("resnext101_64x4d", 83.46, 15.46),
    ],
)
def test_published_size(name: str, params_m: float, flops_g: float) -> None:
    with torch.device("meta"):
        backbone = backbones.build(name).eval()
        image = torch.empty(1, 3, 224, 224)
    own = sum(parameter.numel() for parameter in backbone.parameters())
    assert (own + 2048 * 1000 + 1000) / 1e6 == pytest.approx(params_m, abs=0.006)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone(image)
    assert (counter.get_total_flops() / 2 + 2048 * 1000) / 1e9 == pytest.approx(flops_g, abs=0.006)


def test_dilation_keeps_the_stride() -> None:
    with torch.device("meta"):
        backbone = DenseResNet(**SMALL, output_stride=8)
        maps = backbone(torch.empty(2, 3, 65, 97))
    assert backbone.out_strides == (4, 8, 8, 8)
    assert [tuple(level.shape[1:]) for level in maps] == [(256, 17, 25), (512, 9, 13), (1024, 9, 13), (2048, 9, 13)]
    assert backbone.layer3[1].conv2.dilation == (2, 2) and backbone.layer4[0].conv2.dilation == (2, 2)


def test_deep_stem() -> None:
    with torch.device("meta"):
        backbone = DenseResNet(**SMALL, deep_stem=True)
    kernels = [tuple(layer.weight.shape) for layer in backbone.conv1 if isinstance(layer, nn.Conv2d)]
    assert kernels == [(32, 3, 3, 3), (32, 32, 3, 3), (64, 32, 3, 3)]
    assert backbone.stage_of("conv1.0.weight") == 0


def test_frozen_norms_keep_their_statistics_and_train_their_weights() -> None:
    backbone = DenseResNet(**SMALL, norm_eval=True).train()
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and not any(norm.training for norm in norms)
    assert all(norm.weight.requires_grad for norm in norms) and backbone.layer1.training
    backbone = DenseResNet(**SMALL, frozen_stages=1).train()
    assert not backbone.bn1.training and not backbone.layer1[0].bn1.training and backbone.layer2[0].bn1.training


@pytest.mark.parametrize(
    ("parameter", "layer_wise_16", "layer_wise_6", "stage_wise"),
    [
        ("conv1.weight", 0, 0, 0),
        ("bn1.bias", 0, 0, 0),
        ("layer1.0.downsample.0.weight", 1, 1, 1),
        ("layer2.3.bn3.weight", 7, 3, 2),
        ("layer3.0.conv2.weight", 8, 3, 3),
        ("layer4.2.conv3.weight", 16, 6, 4),
    ],
)
def test_layer_depth(parameter: str, layer_wise_16: int, layer_wise_6: int, stage_wise: int) -> None:
    with torch.device("meta"):
        backbone = backbones.build("resnet50")  # 16 blocks
    assert backbone.layer_depth(parameter, "layer_wise", 16) == layer_wise_16
    assert backbone.layer_depth(parameter, "layer_wise", 6) == layer_wise_6
    assert backbone.layer_depth(parameter, "stage_wise", 6) == stage_wise
    with pytest.raises(ValueError, match="decay_type"):
        backbone.layer_depth(parameter, "block_wise", 6)


def test_drop_path_and_output_indices() -> None:
    with torch.device("meta"):
        backbone = DenseResNet(**SMALL, drop_path_rate=0.6, out_indices=(1, 3))
    blocks = [block for stage in ("layer1", "layer2", "layer3", "layer4") for block in backbone.get_submodule(stage)]
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for block in blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert backbone.out_channels == (512, 2048) and backbone.out_strides == (8, 32)


def test_norms_are_synchronized_where_that_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def sync_norms() -> int:
        with torch.device("meta"):
            model = DenseResNet(**SMALL, use_sync_bn=True, norm_frozen=True)
        norms = [module for module in model.modules() if isinstance(module, nn.SyncBatchNorm)]
        assert not any(parameter.requires_grad for norm in norms for parameter in norm.parameters())
        return len(norms)

    assert sync_norms() == 0
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert sync_norms() == 1 + 3 * 7 + 4  # stem, three in each block, one in each shortcut


def test_stride_in_the_first_convolution_and_frozen_norms() -> None:
    model = backbones.build("resnet50", stride_in_1x1=True, norm_frozen=True, frozen_stages=1)
    block = model.layer2[0]
    assert block.conv1.stride == (2, 2) and block.conv2.stride == (1, 1)
    assert [level.shape[-1] for level in model(torch.zeros(1, 3, 64, 64))] == [16, 8, 4, 2]
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and not any(parameter.requires_grad for norm in norms for parameter in norm.parameters())
    assert model.layer2[0].conv1.weight.requires_grad and not model.layer1[0].conv1.weight.requires_grad

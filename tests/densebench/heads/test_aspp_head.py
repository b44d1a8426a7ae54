"""LeanSeparableASPPHead is mmseg's DepthwiseSeparableASPPHead: parameters, values, gradients."""

import copy

import pytest
import torch
from mmseg.models.decode_heads import DepthwiseSeparableASPPHead
from torch import Tensor, nn

import densebench.registration  # noqa: F401
from densebench.heads import convolution
from densebench.heads.aspp_head import LeanSeparableASPPHead

CHANNELS = (6, 8, 12, 16)


def heads(align_corners: bool = True, **settings: object) -> tuple[LeanSeparableASPPHead, DepthwiseSeparableASPPHead]:
    """Ours and mmseg's with the same weights, norms that do something, and no dropout."""
    torch.manual_seed(0)
    settings = {
        "in_channels": CHANNELS[3],
        "in_index": 3,
        "channels": 10,
        "dilations": (1, 2, 4),
        "c1_in_channels": CHANNELS[0],
        "c1_channels": 5,
        "num_classes": 7,
        "dropout_ratio": 0.0,
        "norm_cfg": {"type": "BN"},
        "align_corners": align_corners,
        **settings,
    }
    theirs = DepthwiseSeparableASPPHead(**settings)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.normal_(module.bias, std=0.1)
    ours = LeanSeparableASPPHead(**settings)
    ours.load_state_dict(theirs.state_dict())  # strict
    return ours, theirs


def levels(height: int, width: int) -> list[Tensor]:
    """The first map at stride 4, the others at stride 8."""
    generator = torch.Generator().manual_seed(height)
    return [
        torch.randn(2, channels, -(-height // stride), -(-width // stride), generator=generator)
        for channels, stride in zip(CHANNELS, (4, 8, 8, 8), strict=True)
    ]


@pytest.fixture(autouse=True)
def no_way_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in [name for name in vars(convolution) if name.startswith("MIN_")]:
        monkeypatch.setattr(convolution, limit, 1)


def gradients(head: DepthwiseSeparableASPPHead, maps: list[Tensor]) -> list[Tensor]:
    # The second and third map are not read.
    used = [maps[0].clone().requires_grad_(), maps[3].clone().requires_grad_()]
    output = head([used[0], maps[1], maps[2], used[1]])
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output)
    (output * weights).sum().backward()
    return [level.grad for level in used] + [parameter.grad for parameter in head.parameters()]


def relative(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(65, 65), (100, 156)])
@pytest.mark.parametrize("training", [False, True])
def test_values_and_gradients(align_corners: bool, size: tuple[int, int], training: bool) -> None:
    ours, theirs = (head.double().train(training) for head in heads(align_corners))
    maps = [level.double() for level in levels(*size)]
    with torch.no_grad():
        found, expected = copy.deepcopy(ours)(maps), copy.deepcopy(theirs)(maps)
    assert relative(found, expected) < 1e-12
    for one, other in zip(gradients(ours, maps), gradients(theirs, maps), strict=True):
        assert relative(one, other) < 1e-9
    # The norms have seen the same values.
    for one, other in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_single_precision() -> None:
    # Without ReLU: a value that rounding moves across zero switches its whole gradient, in any implementation.
    ours, theirs = (head.eval() for head in heads(act_cfg=None))
    maps = levels(100, 156)
    with torch.no_grad():
        assert relative(ours(maps), theirs(maps)) < 1e-5
    for one, other in zip(gradients(ours, maps), gradients(theirs, maps), strict=True):
        assert relative(one, other) < 1e-5


def test_the_plain_setting_is_mmsegs_and_maps_stay_as_they_were() -> None:
    ours, theirs = (head.eval() for head in heads())
    ours.plain = True
    maps = levels(65, 65)
    with torch.no_grad():
        assert torch.equal(ours(maps), theirs(maps))
    ours.plain = False
    before = [level.clone() for level in maps]
    with torch.no_grad():
        ours(maps)
    assert all(map(torch.equal, maps, before))


def test_a_convolution_with_a_bias() -> None:
    ours, theirs = (head.eval() for head in heads(norm_cfg=None))
    assert ours.bottleneck.conv.bias is not None
    maps = levels(65, 65)
    with torch.no_grad():
        assert relative(ours(maps), theirs(maps)) < 1e-5


def test_autocast_and_meta_device() -> None:
    ours, theirs = (head.eval() for head in heads())
    maps = levels(65, 65)
    with torch.no_grad():
        exact = theirs(maps)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found, expected = ours(maps), theirs(maps)
    assert found.dtype == expected.dtype == torch.bfloat16
    assert (found - exact).norm() < 1.5 * (expected - exact).norm()
    assert ours.to("meta")([level.to("meta") for level in maps]).shape == (2, 7, 17, 17)

"""LeanUPerHead is mmseg's UPerHead: parameters, values, gradients; in every precision and memory format."""

import copy

import pytest
import torch
from mmseg.models.decode_heads import UPerHead
from torch import Tensor, nn

import densebench.registration  # noqa: F401
from densebench.heads import convolution
from densebench.heads.uper_head import LeanUPerHead

CHANNELS = (8, 12, 16, 24)


def heads(align_corners: bool = False, **settings: object) -> tuple[LeanUPerHead, UPerHead]:
    """Ours and mmseg's with the same weights, norms that do something, and no dropout."""
    torch.manual_seed(0)
    settings = {
        "in_channels": list(CHANNELS),
        "in_index": [0, 1, 2, 3],
        "channels": 16,
        "num_classes": 7,
        "dropout_ratio": 0.0,
        "norm_cfg": {"type": "BN"},
        "align_corners": align_corners,
        **settings,
    }
    theirs = UPerHead(**settings)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.normal_(module.bias, std=0.1)
    ours = LeanUPerHead(**settings)
    ours.load_state_dict(theirs.state_dict())  # strict
    return ours, theirs


def pyramid(height: int, width: int, number: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(height)
    return [
        torch.randn(number, channels, -(-height // stride), -(-width // stride), generator=generator)
        for channels, stride in zip(CHANNELS, (4, 8, 16, 32), strict=True)
    ]


@pytest.fixture(autouse=True)
def no_way_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in [name for name in vars(convolution) if name.startswith("MIN_")]:
        monkeypatch.setattr(convolution, limit, 1)


def gradients(head: UPerHead, levels: list[Tensor]) -> list[Tensor]:
    levels = [level.clone().requires_grad_() for level in levels]
    output = head(levels)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output)
    (output * weights).sum().backward()
    return [level.grad for level in levels] + [parameter.grad for parameter in head.parameters()]


def relative(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(128, 128), (100, 156)])  # 25x39, 13x20, 7x10, 4x5: no exact halves
@pytest.mark.parametrize("training", [False, True])
def test_values_and_gradients(align_corners: bool, size: tuple[int, int], training: bool) -> None:
    ours, theirs = (head.double().train(training) for head in heads(align_corners))
    levels = [level.double() for level in pyramid(*size)]
    with torch.no_grad():
        found, expected = copy.deepcopy(ours)(levels), copy.deepcopy(theirs)(levels)
    assert relative(found, expected) < 1e-12
    for one, other in zip(gradients(ours, levels), gradients(theirs, levels), strict=True):
        assert relative(one, other) < 1e-9
    # The norms have seen the same values.
    for one, other in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("align_corners", [False, True])
def test_single_precision(align_corners: bool) -> None:
    # Without ReLU: a value that rounding moves across zero switches its whole gradient, in any implementation.
    ours, theirs = (head.eval() for head in heads(align_corners, act_cfg=None))
    levels = pyramid(100, 156)
    with torch.no_grad():
        assert relative(ours(levels), theirs(levels)) < 1e-5
    for one, other in zip(gradients(ours, levels), gradients(theirs, levels), strict=True):
        assert relative(one, other) < 1e-5


def test_memory_formats() -> None:
    ours, _ = heads()
    levels = pyramid(128, 128)
    with torch.no_grad():
        contiguous = ours.eval()(levels)
        last = ours([level.contiguous(memory_format=torch.channels_last) for level in levels])
    assert relative(last, contiguous) < 1e-6


def test_autocast_is_as_exact_as_the_plain_head() -> None:
    ours, theirs = (head.eval() for head in heads())
    levels = pyramid(128, 128)
    with torch.no_grad():
        exact = theirs(levels)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found, expected = ours(levels), theirs(levels)
    assert found.dtype == expected.dtype == torch.bfloat16
    assert (found - exact).norm() < 1.5 * (expected - exact).norm()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = ours.train()(levels)
    output.float().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in ours.parameters())


def test_plain_setting() -> None:
    ours, theirs = heads()
    ours.plain = True
    levels = pyramid(64, 64)
    with torch.no_grad():
        assert torch.equal(ours.eval()(levels), theirs.eval()(levels))


def test_convolutions_with_a_bias() -> None:
    ours, theirs = (head.eval() for head in heads(norm_cfg=None))
    assert ours.fpn_bottleneck.conv.bias is not None
    levels = pyramid(128, 128)
    with torch.no_grad():
        assert relative(ours(levels), theirs(levels)) < 1e-5


def test_meta_device() -> None:
    ours, _ = heads()
    output = ours.eval().to("meta")([level.to("meta") for level in pyramid(100, 156)])
    assert output.shape == (2, 7, 25, 39)

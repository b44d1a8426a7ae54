"""1x1 convolutions: equal to torch's in every layout, and linear layers in channels_last."""

import pytest
import torch
from torch import nn

from backbones.layers import pointwise
from backbones.layers.pointwise import PointwiseConv2d, pointwise_feed_forward

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def pair(*arguments: int, bias: bool = True) -> tuple[PointwiseConv2d, nn.Conv2d]:
    """Ours and torch's, with the same state."""
    torch.manual_seed(0)
    ours, theirs = PointwiseConv2d(*arguments, bias=bias), nn.Conv2d(*arguments, kernel_size=1, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_equals_torch(layout: torch.memory_format, dtype: torch.dtype, bias: bool) -> None:
    ours, theirs = (layer.to(dtype) for layer in pair(6, 10, bias=bias))
    x = torch.randn(2, 6, 5, 7, dtype=dtype).contiguous(memory_format=layout).requires_grad_()
    y, wanted = ours(x), theirs(x)
    assert y.is_contiguous(memory_format=layout)
    tolerance = 2e-2 if dtype is torch.bfloat16 else 1e-5
    torch.testing.assert_close(y, wanted, rtol=tolerance, atol=tolerance)
    towards = torch.randn_like(wanted)
    found = torch.autograd.grad(y, [x, *ours.parameters()], towards)
    expected = torch.autograd.grad(wanted, [x, *theirs.parameters()], towards)
    torch.testing.assert_close(found, expected, rtol=10 * tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_feed_forward_equals_its_layers(layout: torch.memory_format) -> None:
    first, second = pair(6, 24)[0], pair(24, 6)[0]
    x = torch.randn(2, 6, 5, 7).contiguous(memory_format=layout)
    wanted = second(nn.functional.gelu(first(x)))
    torch.testing.assert_close(pointwise_feed_forward(x, first, second), wanted, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        found = pointwise_feed_forward(x, first, second)
    assert found.is_contiguous(memory_format=layout)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_is_linear_in_channels_last_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(pointwise, "linear", lambda *arguments: calls.append(1) or nn.functional.linear(*arguments))
    ours, _ = pair(6, 10)
    x = torch.randn(1, 6, 5, 7)
    ours(x)
    ours(x[0])  # an image without N
    assert not calls
    ours(x.contiguous(memory_format=torch.channels_last))
    assert len(calls) == 1

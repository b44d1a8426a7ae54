"""Linear layers by oneDNN: equal to torch's forward, backward and in FLOPs, and torch's own where oneDNN cannot be."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from backbones.layers import linear as linear_module
from backbones.layers.feed_forward import add_feed_forward, adds_in_chunks, feed_forward, feed_forward_grn
from backbones.layers.linear import HAS_ONEDNN, HAS_ONEDNN_BFLOAT16, linear, linear_gelu, uses_onednn
from backbones.layers.norm import GlobalResponseNorm

needs_onednn = pytest.mark.skipif(not HAS_ONEDNN, reason="this build of torch has no oneDNN")


def layers(inner: int = 32, channels: int = 8) -> list[Tensor]:
    torch.manual_seed(0)
    shapes = ((2, 5, 7, channels), (inner, channels), (inner,), (channels, inner), (channels,))
    return [(0.3 * torch.randn(shape)).requires_grad_() for shape in shapes]


def gradients(function: Callable[..., Tensor], tensors: list[Tensor]) -> tuple[Tensor, ...]:
    result = function(*tensors)
    torch.manual_seed(1)
    return (result, *torch.autograd.grad((result.sin() * torch.randn_like(result)).sum(), tensors))


def check_close(found: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> None:
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.fixture(params=[True, False], ids=["AVX-512", "less"])
def processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ways of both kinds of processors, whichever this one is."""
    monkeypatch.setattr(linear_module, "HAS_AVX512", request.param)


@pytest.mark.parametrize("sizes", [(32, 8), (8, 32)])
def test_linear_equals_torchs(sizes: tuple[int, int], processor: None) -> None:
    tensors = layers(*sizes)[:3]
    check_close(gradients(linear, tensors), gradients(functional.linear, tensors))


def test_second_derivatives_are_torchs() -> None:
    def penalty(function: Callable[..., Tensor]) -> tuple[Tensor, ...]:
        x, weight, bias = tensors = layers()[:3]
        (slope,) = torch.autograd.grad(function(x, weight, bias).sin().sum(), x, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), tensors)

    check_close(penalty(linear), penalty(functional.linear))


def test_gelu_is_the_exact_one_with_and_without_gradients(processor: None) -> None:
    x, weight, bias, *_ = layers()
    wanted = functional.gelu(functional.linear(x, weight, bias))
    torch.testing.assert_close(linear_gelu(x, weight, bias), wanted, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(linear_gelu(x, weight, bias), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [4, 1024])
def test_feed_forward_equals_plain_layers(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # 70 positions: chunks of 4 positions a thread leave a shorter one at the end.
    monkeypatch.setattr("backbones.layers.feed_forward.ROWS_PER_THREAD", rows)

    def plain(x: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor) -> Tensor:
        return functional.linear(functional.gelu(functional.linear(x, weight1, bias1)), weight2, bias2)

    tensors = layers()
    check_close(gradients(feed_forward, tensors), gradients(plain, tensors))
    with torch.no_grad():
        torch.testing.assert_close(feed_forward(*tensors), plain(*tensors), rtol=1e-4, atol=1e-4)


@needs_onednn
@pytest.mark.parametrize("rows", [4, 1024])
def test_feed_forward_is_added_to_a_residual(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backbones.layers.feed_forward.ROWS_PER_THREAD", rows)
    x, *parameters = layers()
    scale, residual = torch.randn(8), torch.randn(2, 5, 7, 8)
    assert not adds_in_chunks(x)
    with torch.no_grad():
        assert adds_in_chunks(x)
        wanted = residual + scale * feed_forward(x, *parameters)
        for before in (residual, residual.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)):  # and in NCHW
            found = add_feed_forward(before, x, *parameters, scale)
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def paper_grn(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """ConvNeXt V2, algorithm 1, for (N, H, W, C)."""
    response = x.norm(p=2, dim=(1, 2), keepdim=True)
    return gamma * (x * (response / (response.mean(dim=-1, keepdim=True) + 1e-6))) + beta + x


def test_response_normalization_in_the_weights_equals_the_papers() -> None:
    tensors = layers()
    grn = GlobalResponseNorm(32)
    gamma, beta = torch.nn.init.normal_(grn.gamma), torch.nn.init.normal_(grn.beta)

    def ours(*tensors: Tensor) -> Tensor:
        x, weight1, bias1, weight2, bias2, *_ = tensors
        return feed_forward_grn(x, weight1, bias1, grn, weight2, bias2)

    def plain(*tensors: Tensor) -> Tensor:
        x, weight1, bias1, weight2, bias2, gamma, beta = tensors
        hidden = functional.gelu(functional.linear(x, weight1, bias1))
        return functional.linear(paper_grn(hidden, gamma, beta), weight2, bias2)

    tensors += [gamma, beta]
    check_close(gradients(ours, tensors), gradients(plain, tensors))
    hidden = torch.randn(2, 5, 7, 32)
    torch.testing.assert_close(grn(hidden), paper_grn(hidden, gamma, beta), rtol=1e-5, atol=1e-5)


def test_a_channel_without_response_has_finite_gradients() -> None:
    grn = GlobalResponseNorm(4)
    torch.nn.init.ones_(grn.gamma)
    x = torch.randn(1, 3, 3, 4)
    x[..., 1] = 0
    x.requires_grad_()
    grn(x).sum().backward()
    assert x.grad.isfinite().all() and grn(x)[..., 1].eq(0).all()


@needs_onednn
def test_operations_are_counted_as_torchs(processor: None) -> None:
    import backbones.layers.operation_counts  # noqa: F401

    def count(function: Callable[..., Tensor], device: str) -> int:
        x, weight, bias, *_ = (tensor.detach().to(device).requires_grad_() for tensor in layers())
        with FlopCounterMode(display=False) as counter:
            function(x, weight, bias).sum().backward()
        return counter.get_total_flops()

    assert count(linear, "cpu") == count(functional.linear, "cpu") == count(linear, "meta")


@needs_onednn
def test_where_onednn_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(2, 3)
    assert uses_onednn(x) and uses_onednn(x.bfloat16()) == HAS_ONEDNN_BFLOAT16
    assert not any(uses_onednn(other) for other in (x.double(), x.half(), x.to("meta"), x[:0]))
    with torch.backends.mkldnn.flags(enabled=False):
        assert not uses_onednn(x)
    monkeypatch.setattr(linear_module, "HAS_ONEDNN", False)
    assert not uses_onednn(x)


def test_without_bfloat16_in_onednn_torch_computes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_module, "ONEDNN_DTYPES", (torch.float32,))
    x, weight, bias, *_ = layers()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not uses_onednn(x)
        assert linear(x, weight, bias).dtype == torch.bfloat16
    assert uses_onednn(x) == HAS_ONEDNN and not uses_onednn(x.bfloat16())


def test_autocast_rounds_as_for_torchs_layers() -> None:
    x, weight, bias, *_ = layers()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, wanted = linear(x, weight, bias), functional.linear(x, weight, bias)
        with torch.no_grad():
            assert linear_gelu(x, weight, bias).dtype == torch.bfloat16
    assert found.dtype == wanted.dtype == torch.bfloat16
    torch.testing.assert_close(found, wanted, rtol=2e-2, atol=2e-2)
    found.sum().backward()
    assert x.grad.dtype == weight.grad.dtype == bias.grad.dtype == torch.float32

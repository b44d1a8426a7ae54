"""The large depthwise convolution: equal to nn.Conv2d under every algorithm, in every mode torch has for a layer."""

import pickle
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from backbones.layers import fourier_convolution, kernel_choice
from backbones.layers.depthwise_algorithms import Algorithm
from backbones.layers.kernel_choice import SETTING
from backbones.layers.large_kernel import LargeKernelConv2d

ALGORITHMS = [algorithm.value for algorithm in Algorithm]
SETTINGS = [*ALGORITHMS, "rule"]

# kernel, stride, dilation, padding, map: odd sizes, even kernels, kernels larger than the map, much and no padding.
CASES = [
    (5, 1, 1, 2, (9, 12)),
    (7, 2, 1, 3, (9, 12)),
    (7, 2, 2, 6, (21, 18)),
    (6, 1, 1, 3, (10, 7)),
    (5, 1, 3, 6, (20, 17)),
    (9, 1, 1, 0, (20, 17)),
    (9, 1, 1, 4, (3, 2)),
    (31, 1, 1, 15, (4, 7)),
    (13, 1, 1, 6, (40, 33)),
    (5, 1, 1, 9, (6, 5)),
    (25, 1, 1, 0, (25, 26)),
]


@pytest.fixture(autouse=True)
def fresh_measurements() -> Iterator[None]:
    kernel_choice.measured_seconds.cache_clear()
    yield
    kernel_choice.measured_seconds.cache_clear()


def pair(kernel: int, **arguments: int) -> tuple[LargeKernelConv2d, nn.Conv2d]:
    """Ours with three channels, and torch's with the same state."""
    ours = LargeKernelConv2d(3, kernel, **arguments)
    theirs = nn.Conv2d(3, 3, kernel, ours.stride, ours.padding, ours.dilation, groups=3)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("tile", [288, 16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("setting", SETTINGS)
def test_equals_torch(setting: str, layout: torch.memory_format, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, setting)
    monkeypatch.setattr(fourier_convolution, "MAX_LENGTH", tile)
    torch.manual_seed(0)
    for kernel, stride, dilation, padding, size in CASES:
        ours, theirs = pair(kernel, stride=stride, dilation=dilation, padding=padding)
        x = torch.randn(2, 3, *size, dtype=torch.double).contiguous(memory_format=layout).requires_grad_()
        y, wanted = ours.double()(x), theirs.double()(x)
        assert y.is_contiguous(memory_format=layout)
        towards = torch.randn_like(wanted)
        found = torch.autograd.grad(y, [x, *ours.parameters()], towards)
        expected = torch.autograd.grad(wanted, [x, *theirs.parameters()], towards)
        torch.testing.assert_close(y, wanted, rtol=1e-10, atol=1e-11)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("setting", ALGORITHMS)
@pytest.mark.parametrize("stride", [1, 2])
def test_first_and_second_derivatives(setting: str, stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, setting)
    torch.manual_seed(0)
    layer = LargeKernelConv2d(1, 5, stride=stride).double()
    inputs = (torch.randn(2, 1, 4, 3, dtype=torch.double, requires_grad=True), *layer.parameters())

    def run(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


@pytest.mark.parametrize("frozen", ["x", "weight", "bias"])
def test_gradients_that_nobody_wants_are_left_out(frozen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "fourier")
    ours, theirs = pair(7)
    x = torch.randn(1, 3, 8, 8, requires_grad=frozen != "x")
    for layer in (ours, theirs):
        if frozen != "x":
            getattr(layer, frozen).requires_grad_(False)
    wanted = [tensor for tensor in (x, ours.weight, ours.bias) if tensor.requires_grad]
    same = [tensor for tensor in (x, theirs.weight, theirs.bias) if tensor.requires_grad]
    found = torch.autograd.grad(ours(x).square().sum(), wanted)
    torch.testing.assert_close(found, torch.autograd.grad(theirs(x).square().sum(), same), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("setting", ALGORITHMS)
def test_half_precision(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, setting)
    torch.manual_seed(0)
    ours, theirs = pair(9)
    x = torch.randn(2, 3, 12, 13)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = ours(x)
        assert y.dtype == theirs(x).dtype == torch.bfloat16
        assert ours.double()(x.double()).dtype == torch.float64
    ours.float()
    y.float().sum().backward()
    assert ours.weight.grad.dtype == torch.float32
    # bfloat16 keeps 8 bits of input, weight and output.
    torch.testing.assert_close(y.float(), theirs(x), rtol=0.02, atol=0.02)
    theirs(x).sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=0.02, atol=0.02 * 12)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("stride", [1, 2])
def test_counts_as_the_direct_convolution(setting: str, stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, setting)
    ours, theirs = pair(7, stride=stride)
    for device in ("cpu", "meta"):
        x = torch.zeros(2, 3, 9, 10, device=device)
        counts = []
        for layer in (ours.to(device), theirs.to(device)):
            with FlopCounterMode(display=False) as counter:
                layer(x)
            counts.append(counter.get_total_flops())
        assert counts[0] == counts[1] > 0
    x = torch.zeros(2, 3, 9, 10, device="meta", requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        ours(x).sum().backward()
    assert counter.get_total_flops() == 3 * counts[0]
    assert x.grad.shape == x.shape


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_passes_torchs_checks_of_an_operator(layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "fourier")
    x = torch.randn(2, 3, 8, 9).contiguous(memory_format=layout).requires_grad_()
    weight, bias = torch.randn(3, 1, 5, 5, requires_grad=True), torch.randn(3, requires_grad=True)
    settings = ([1, 1], [2, 2], [1, 1])
    torch.library.opcheck(torch.ops.backbones.depthwise_conv2d.default, (x, weight, bias, *settings))
    gradient = torch.randn(2, 3, 8, 9, requires_grad=True)
    torch.library.opcheck(
        torch.ops.backbones.depthwise_conv2d_backward.default, (gradient, x, weight, *settings, True, True)
    )


@pytest.mark.parametrize("setting", ["fourier", "correlation"])
def test_compiles_with_the_network_around_it(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, setting)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), LargeKernelConv2d(4, 7), nn.ReLU())
    # The backend traces forward and backward with the shapes of the fake operators, and runs without a C++ compiler.
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    for size in ((12, 10), (9, 16)):
        x = torch.randn(2, 3, *size)
        for autocast in (False, True):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                y, wanted = compiled(x), network(x)
            tolerance = 0.05 if autocast else 1e-5
            torch.testing.assert_close(y, wanted, rtol=tolerance, atol=tolerance)
            parameters = list(network.parameters())
            found = torch.autograd.grad(y.float().square().mean(), parameters)
            expected = torch.autograd.grad(wanted.float().square().mean(), parameters)
            torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def test_equals_torch_by_the_measured_choice() -> None:
    ours, theirs = pair(15)
    x = torch.randn(2, 3, 12, 13)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)
    found = torch.autograd.grad(ours(x).square().sum(), list(ours.parameters()))
    expected = torch.autograd.grad(theirs(x).square().sum(), list(theirs.parameters()))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_trains_in_a_process_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "fourier")
    ours, theirs = pair(7)
    x = torch.randn(2, 3, 9, 10)
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        nn.parallel.DistributedDataParallel(ours)(x).square().sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    theirs(x).square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=1e-4, atol=1e-3)


def test_pickled_and_without_images() -> None:
    layer = LargeKernelConv2d(3, 9)
    x = torch.randn(1, 3, 12, 12)
    assert torch.equal(pickle.loads(pickle.dumps(layer))(x), layer(x))
    torch.testing.assert_close(layer(x[0]), layer(x)[0], rtol=1e-4, atol=1e-5)
    assert layer(x[:0]).shape == (0, 3, 12, 12)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(RuntimeError, match="larger than the padded map"):
        LargeKernelConv2d(3, 9, padding=0)(torch.zeros(1, 3, 4, 4))
    with pytest.raises(RuntimeError, match=r"\(C, 1, K, L\)"):
        LargeKernelConv2d(3, 9)(torch.zeros(1, 4, 12, 12))
    with pytest.raises(RuntimeError, match="same dtype"):
        LargeKernelConv2d(3, 9)(torch.zeros(1, 3, 12, 12, dtype=torch.double))


@pytest.mark.parametrize("images", [1, 5])
def test_work_space_is_bounded(images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.zeros(images, 40, 30, 30)
    monkeypatch.setitem(fourier_convolution.WORKSPACE_BYTES, "cpu", 200_000)
    groups = list(fourier_convolution._groups(x, (36, 36)))
    covered = torch.zeros(images, 40)
    for which, channels in groups:
        covered[which, channels] += 1
        # Two spectra, a product and the map itself.
        assert covered[which, channels].numel() * 4 * 36 * 19 * 8 <= 200_000
    assert torch.equal(covered, torch.ones_like(covered))


def test_transform_lengths() -> None:
    assert [fourier_convolution.good_length(n) for n in (1, 24, 25, 45, 143, 145)] == [4, 24, 32, 48, 144, 160]

"""The two ways around a 3x3 convolution equal the convolution, in values and gradients."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from densebench.heads import convolution
from densebench.heads.convolution import convolve_joined
from densebench.heads.enlargement import add_enlarged_3x3
from densebench.heads.winograd import convolve_3x3

SIZES = [
    ((8, 8), ((4, 4), (2, 2))),
    ((23, 37), ((11, 19), (6, 10), (3, 5))),  # no exact halves
    ((130, 70), ((65, 35), (1, 1), (6, 6))),  # more than one block; maps of a pixel, as pyramid pooling has them
]


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    values = torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed + sum(shape)))
    return values.requires_grad_()


def plain(full: Tensor, small: Sequence[Tensor], weight: Tensor, align_corners: bool) -> Tensor:
    size = full.shape[2:]
    enlarged = [functional.interpolate(level, size, mode="bilinear", align_corners=align_corners) for level in small]
    return functional.conv2d(torch.cat([full, *enlarged], 1), weight, padding=1)


def difference(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("size", "small_sizes"), SIZES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_the_convolution_over_enlargements(
    monkeypatch: pytest.MonkeyPatch,
    align_corners: bool,
    size: tuple[int, int],
    small_sizes: Sequence[tuple[int, int]],
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    for limit in [name for name in vars(convolution) if name.startswith("MIN_")]:
        monkeypatch.setattr(convolution, limit, 1)
    full = random(2, 6, *size, dtype=dtype)
    small = [random(2, 3 + index, *small_size, dtype=dtype) for index, small_size in enumerate(small_sizes)]
    weight = random(5, 6 + sum(level.shape[1] for level in small), 3, 3, dtype=dtype)
    inputs = [full, weight, *small]
    found = convolve_joined(full, small, weight, None, align_corners)
    # In double precision: the plain convolution's own gradients are off by up to 5e-6 in single precision.
    exact = [values.detach().double().requires_grad_() for values in inputs]
    expected = plain(exact[0], exact[2:], exact[1], align_corners)
    assert difference(found, expected) < tolerance
    gradient = random(*expected.shape, seed=1).detach()
    for ours, theirs in zip(
        torch.autograd.grad(found, inputs, gradient.to(dtype)),
        torch.autograd.grad(expected, exact, gradient),
        strict=True,
    ):
        assert difference(ours, theirs) < tolerance


@pytest.mark.parametrize("align_corners", [False, True])
def test_gradients_of_enlargement(align_corners: bool) -> None:
    def run(output: Tensor, weight: Tensor, *maps: Tensor) -> Tensor:
        return add_enlarged_3x3(output.clone(memory_format=torch.channels_last), maps, weight, align_corners)

    inputs = (random(1, 2, 6, 7), random(2, 4, 3, 3), random(1, 2, 3, 4), random(1, 2, 1, 2))
    assert torch.autograd.gradcheck(run, inputs)


def test_gradients_of_tiles() -> None:
    assert torch.autograd.gradcheck(convolve_3x3, (random(1, 2, 9, 6), random(2, 2, 3, 3)))


@pytest.mark.parametrize("size", [(64, 64), (37, 50)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_tiles_keep_single_precision(size: tuple[int, int], memory_format: torch.memory_format) -> None:
    """Also with 512 channels, where the textbook's points come close to 1e-5."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 512, *size, generator=generator).relu().to(memory_format=memory_format)
    weight = torch.randn(128, 512, 3, 3, generator=generator)
    assert difference(convolve_3x3(x, weight).double(), functional.conv2d(x, weight, padding=1).double()) < 7e-6


def test_small_maps_go_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> Tensor:
        raise AssertionError("not the plain way")

    monkeypatch.setattr(convolution, "convolve_3x3", refuse)
    monkeypatch.setattr(convolution, "add_enlarged_3x3", refuse)
    full, small = random(1, 16, 32, 32), [random(1, 16, 16, 16)]
    weight = random(16, 32, 3, 3)
    assert torch.equal(convolve_joined(full, small, weight, None, False), plain(full, small, weight, False))

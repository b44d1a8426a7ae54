"""3x3 convolutions with a quarter of the multiplications: Winograd's F(4x4, 3x3).

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (arXiv:1509.09308), section 4. An input tile
of 6x6 pixels is mapped to 36 values, in which the convolution is a product channel by channel, and the 36 results are
mapped to 4x4 output pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from densebench.products import product

OUTPUT = 4  # output pixels of a tile, a side
TILE = OUTPUT + 2  # input pixels of a tile, a side

# Where the polynomials are evaluated, beside infinity. The textbook's 0, 1, -1, 2, -2 lose three times as many digits.
POINTS = (Fraction(0), Fraction(3, 4), Fraction(-3, 4), Fraction(3, 2), Fraction(-3, 2))

# Tiles at once: enough rows for the products to run at full speed, few enough for memory to stay small.
TILES_AT_ONCE = 256


def convolve_3x3(x: Tensor, weight: Tensor) -> Tensor:
    """(N, C, H, W), (O, C, 3, 3) -> (N, O, H, W): `conv2d(x, weight, padding=1)`, to a few 1e-6 of the largest value.

    The result is channels_last. Both inputs get their gradients, computed the same way.
    """
    if torch.compiler.is_compiling():  # a compiler would write out all the tiles
        return _convolved_operator(x, weight)
    result: Tensor = _WinogradConvolution.apply(x, weight)
    return result


class _WinogradConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolved(x, weight)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        (grad_output,) = grad_outputs
        grad_x = _convolved(grad_output, _turned(weight)) if ctx.needs_input_grad[0] else None
        grad_weight = _weight_gradient(x, grad_output) if ctx.needs_input_grad[1] else None
        return grad_x, grad_weight


def _turned(weight: Tensor) -> Tensor:
    """(O, C, 3, 3) -> (C, O, 3, 3), with which the convolution of the output's gradient is that of the input."""
    return weight.flip(2, 3).transpose(0, 1)


def _convolved(x: Tensor, weight: Tensor) -> Tensor:
    channels, width = weight.shape[0], x.shape[3]
    to_tiles, to_weights, to_output = (_kron(matrix, x) for matrix in _matrices())
    columns = math.ceil(width / OUTPUT)
    # (O, C, 3, 3) -> (36, O, C)
    weights = (to_weights @ weight.reshape(-1, 9).t()).view(TILE * TILE, *weight.shape[:2])
    output = _output_like(x, weight)
    for image, first, last, tiles in _tiles(x, to_tiles):
        # (36, T, C), (36, O, C) -> (36, T, O)
        products = torch.stack([product(tile, w.t()) for tile, w in zip(tiles, weights, strict=True)])
        pixels = product(to_output, products.view(TILE * TILE, -1)).view(
            OUTPUT, OUTPUT, last - first, columns, channels
        )
        strip = output[image].permute(1, 2, 0)[first * OUTPUT : last * OUTPUT]  # (rows, W, O)
        if strip.shape[:2] == ((last - first) * OUTPUT, columns * OUTPUT):
            strip.unflatten(1, (-1, OUTPUT)).unflatten(0, (-1, OUTPUT)).copy_(pixels.permute(2, 0, 3, 1, 4))
        else:  # the last tiles reach beyond the image
            whole = pixels.permute(2, 0, 3, 1, 4).flatten(2, 3).flatten(0, 1)
            strip.copy_(whole[: len(strip), :width])
    return output


def _output_like(x: Tensor, weight: Tensor) -> Tensor:
    size = (x.shape[0], weight.shape[0], *x.shape[2:])
    return torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _weight_gradient(x: Tensor, grad_output: Tensor) -> Tensor:
    to_tiles, to_weights, to_output = (_kron(matrix, x) for matrix in _matrices())
    height, width = x.shape[2:]
    spare = (-width % OUTPUT, -height % OUTPUT)
    # (N, O, H, W) -> (N, rows, 4, columns, 4, O), with zeros where a tile reaches beyond the image
    gradient = functional.pad(grad_output.permute(0, 2, 3, 1), (0, 0, 0, spare[0], 0, spare[1]))
    gradient = gradient.unflatten(2, (-1, OUTPUT)).unflatten(1, (-1, OUTPUT))
    sums: Tensor | None = None
    for image, first, last, tiles in _tiles(x, to_tiles):
        block = gradient[image, first:last].permute(1, 3, 0, 2, 4).reshape(OUTPUT * OUTPUT, -1)
        block = product(to_output.t(), block).view(TILE * TILE, -1, grad_output.shape[1])  # (36, T, O)
        found = torch.stack([product(g.t(), tile) for g, tile in zip(block, tiles, strict=True)])  # (36, O, C)
        sums = found if sums is None else sums.add_(found)
    assert sums is not None
    return (to_weights.t() @ sums.view(TILE * TILE, -1)).t().reshape(*sums.shape[1:], 3, 3)


def _tiles(x: Tensor, to_tiles: Tensor) -> Iterator[tuple[int, int, int, Tensor]]:
    """Image, first and last row of tiles, and the transformed tiles (36, T, C), block by block."""
    number, channels, height, width = x.shape
    rows, columns = math.ceil(height / OUTPUT), math.ceil(width / OUTPUT)
    pixels = x.permute(0, 2, 3, 1)  # (N, H, W, C)
    step = max(TILES_AT_ONCE // columns, 1)
    for image in range(number):
        for first in range(0, rows, step):
            last = min(first + step, rows)
            top, bottom = first * OUTPUT - 1, last * OUTPUT + 1
            strip = pixels[image, max(top, 0) : bottom]
            below = bottom - max(top, 0) - len(strip)
            padded = functional.pad(strip, (0, 0, 1, columns * OUTPUT + 1 - width, max(-top, 0), below))
            windows = padded.unfold(0, TILE, OUTPUT).unfold(1, TILE, OUTPUT)  # (rows, columns, C, 6, 6)
            tiles = product(to_tiles, windows.permute(3, 4, 0, 1, 2).reshape(TILE * TILE, -1))
            yield image, first, last, tiles.view(TILE * TILE, -1, channels)


def _kron(matrix: Tensor, like: Tensor) -> Tensor:
    """A transform of rows and columns at once, as one matrix."""
    return torch.kron(matrix, matrix).to(like)


@cache
def _matrices() -> tuple[Tensor, Tensor, Tensor]:
    """Of tiles (6, 6), of weights (6, 3) and of outputs (4, 6), in float64 (Toom-Cook; sections 2 and 4.1)."""
    scales = [math.prod(p - q for q in POINTS if q != p) for p in POINTS]
    output = [[p**i for p in POINTS] + [Fraction(i == OUTPUT - 1)] for i in range(OUTPUT)]
    weights = [[p**j / scale for j in range(3)] for p, scale in zip(POINTS, scales, strict=True)]
    weights.append([Fraction(j == 2) for j in range(3)])
    tiles = [_polynomial([q for q in POINTS if q != p]) + [Fraction(0)] for p in POINTS] + [_polynomial(POINTS)]
    return _tensor(tiles), _tensor(weights), _tensor(output)


def _tensor(rows: Sequence[Sequence[Fraction]]) -> Tensor:
    return torch.tensor([[float(value) for value in row] for row in rows], dtype=torch.float64)


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """The coefficients of the product of (t - root), constant first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [a - root * b for a, b in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
    return coefficients


# The same for torch.compile, as operators that it calls and does not look into.
@torch.library.custom_op("densebench::convolve_3x3", mutates_args=())
def _convolved_operator(x: Tensor, weight: Tensor) -> Tensor:
    return _convolved(x, weight)


@torch.library.custom_op("densebench::convolve_3x3_weight_gradient", mutates_args=())
def _weight_gradient_operator(x: Tensor, grad_output: Tensor) -> Tensor:
    return _weight_gradient(x, grad_output).contiguous()


@_convolved_operator.register_fake
def _(x: Tensor, weight: Tensor) -> Tensor:
    return _output_like(x, weight)


@_weight_gradient_operator.register_fake
def _(x: Tensor, grad_output: Tensor) -> Tensor:
    return x.new_empty(grad_output.shape[1], x.shape[1], 3, 3)


def _keep_for_backward(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _operators_backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, Tensor | None]:
    x, weight = ctx.saved_tensors
    grad_x = _convolved_operator(grad_output, _turned(weight)) if ctx.needs_input_grad[0] else None
    return grad_x, _weight_gradient_operator(x, grad_output) if ctx.needs_input_grad[1] else None


_convolved_operator.register_autograd(_operators_backward, setup_context=_keep_for_backward)

"""3x3 convolutions over bilinear enlargements, computed at the size before the enlargement.

A convolution is a sum over its nine taps of a 1x1 convolution whose result is shifted, and a 1x1 convolution may as
well come before a bilinear enlargement as after it. So the nine products are taken on the small map, and each is
enlarged, shifted by its tap and added. Enlarging and shifting along one axis is a matrix with few entries a row; the
three taps of an axis stand side by side in one matrix. Where a tap falls outside the large map, its row is zero: the
convolution's zero padding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from densebench.bilinear import resizing_matrix
from densebench.products import product

# Pixels of the result that are computed at once, rows and columns: what they are computed from fits the cache.
BLOCK = (64, 16)

# Channels of the result for which the products of all taps are held at once; they are nine times as large as the map.
CHANNELS_AT_ONCE = 128


def add_enlarged_3x3(output: Tensor, maps: Sequence[Tensor], weight: Tensor, align_corners: bool) -> Tensor:
    """Add to `output` the 3x3 convolution over the maps, enlarged to its size and joined.

    (N, O, H, W), maps of (N, C_i, h_i, w_i), (O, sum of C_i, 3, 3) -> (N, O, H, W), in place:
    `output += conv2d(cat([interpolate(m, (H, W), mode="bilinear") for m in maps], 1), weight, padding=1)`.
    `output` is channels_last.
    """
    if torch.compiler.is_compiling():  # a compiler would write out all the blocks
        return output + _convolved_operator(list(maps), weight, list(output.shape[2:]), align_corners)
    result: Tensor = _AddEnlarged.apply(output, weight, align_corners, *maps)
    return result


@dataclass(frozen=True)
class _Axis:
    """Enlarging along one axis: `taps[x, i, d]` is what tap d of pixel x takes from pixel i of the small map."""

    taps: Tensor
    align_corners: bool

    def sources(self, first: int, last: int) -> tuple[int, int]:
        """The pixels of the small map that the large map's pixels first..last - 1 take from, one to spare."""
        large, small = self.taps.shape[:2]
        if self.align_corners:
            scale, offset = (small - 1) / max(large - 1, 1), 0.0
        else:
            scale, offset = small / large, 0.5
        ends = (math.floor((pixel + offset) * scale - offset) for pixel in (first - 1, last))
        low, high = (max(min(end, small - 1), 0) for end in ends)
        return max(low - 1, 0), min(high + 3, small)


class _AddEnlarged(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, output: Tensor, weight: Tensor, align_corners: bool, *maps: Tensor) -> Tensor:
        ctx.mark_dirty(output)
        ctx.save_for_backward(weight, *maps)
        ctx.align_corners = align_corners
        _add(output, weight, maps, align_corners)
        return output

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (grad_output,) = grad_outputs
        weight, *maps = ctx.saved_tensors
        grad_weight, *grad_maps = _gradients(grad_output, weight, maps, ctx.align_corners)
        return grad_output, grad_weight, None, *grad_maps


def _add(output: Tensor, weight: Tensor, maps: Sequence[Tensor], align_corners: bool) -> None:
    size = output.shape[2:]
    pixels = output.permute(0, 2, 3, 1)  # (N, H, W, O)
    axes = [_axes(level, size, align_corners) for level in maps]
    for first in range(0, len(weight), CHANNELS_AT_ONCE):
        channels = slice(first, first + CHANNELS_AT_ONCE)
        weights = _by_tap(weight[channels], maps)
        for image in range(len(pixels)):
            levels = [_tap_products(level[image], w) for level, w in zip(maps, weights, strict=True)]
            for block in _blocks(axes, size):
                _add_block(pixels[image, :, :, channels], block, levels)


def _gradients(grad_output: Tensor, weight: Tensor, maps: Sequence[Tensor], align_corners: bool) -> list[Tensor]:
    """Of the weight, then of each map."""
    size = grad_output.shape[2:]
    gradient = grad_output.permute(0, 2, 3, 1)  # (N, H, W, O)
    axes = [_axes(level, size, align_corners) for level in maps]
    weights = _by_tap(weight, maps)
    grad_weights = [torch.zeros_like(w) for w in weights]
    grad_maps = [torch.empty_like(level, memory_format=torch.channels_last) for level in maps]
    for image in range(len(gradient)):
        levels = [_no_products(level, weight) for level in maps]
        for block in _blocks(axes, size):
            _collect_block(gradient[image], block, levels)
        for level, found, w, grad_w, grad in zip(maps, levels, weights, grad_weights, grad_maps, strict=True):
            taps = found.flatten(1, 2).flatten(2)  # (3, h * w, 3 * O)
            rows = _rows(level[image])
            for tap in range(3):
                grad_w[tap] += product(taps[tap].t(), rows)
            grad_rows = torch.stack([product(taps[tap], w[tap]) for tap in range(3)]).sum(0)
            grad[image] = grad_rows.unflatten(0, level.shape[2:]).permute(2, 0, 1)
    joined = [w.unflatten(1, (3, -1)).permute(2, 3, 0, 1) for w in grad_weights]
    return [torch.cat(joined, dim=1), *grad_maps]


@dataclass(frozen=True)
class _Block:
    """A block of the result, and per map what it is made of."""

    rows: slice
    columns: slice
    row_matrix: Tensor  # (block's rows, all maps' 3 taps and rows)
    sources: list[tuple[slice, slice, Tensor]]  # rows and columns of the small map, (block's columns, 3 x columns)


def _blocks(axes: Sequence[tuple[_Axis, _Axis]], size: Sequence[int]) -> Iterator[_Block]:
    height, width = size
    for top in range(0, height, BLOCK[0]):
        bottom = min(top + BLOCK[0], height)
        row_ranges = [slice(*vertical.sources(top, bottom)) for vertical, _ in axes]
        row_matrix = torch.cat(
            [
                # (rows, small rows, taps) -> (rows, taps x small rows)
                vertical.taps[top:bottom, rows].transpose(1, 2).flatten(1)
                for (vertical, _), rows in zip(axes, row_ranges, strict=True)
            ],
            dim=1,
        )
        for left in range(0, width, BLOCK[1]):
            right = min(left + BLOCK[1], width)
            sources = []
            for (_, horizontal), rows in zip(axes, row_ranges, strict=True):
                columns = slice(*horizontal.sources(left, right))
                sources.append((rows, columns, horizontal.taps[left:right, columns].flatten(1)))
            yield _Block(slice(top, bottom), slice(left, right), row_matrix, sources)


def _add_block(pixels: Tensor, block: _Block, levels: Sequence[Tensor]) -> None:
    """Add to one block of (H, W, O) what the tap products (3, h, w, 3, O) of all maps give there."""
    wide = _wide_buffer(pixels, block)  # (3 taps x rows of all maps, block's columns, O)
    for part, (rows, columns, matrix), level in zip(_parts(wide, block), block.sources, levels, strict=True):
        for tap in range(3):
            small = level[tap, rows, columns].flatten(1, 2)  # (rows, columns x 3, O)
            torch.bmm(matrix.expand(len(small), -1, -1), small, out=part[tap])
    found = product(block.row_matrix, wide.flatten(1))
    pixels[block.rows, block.columns] += found.unflatten(1, wide.shape[1:])


def _collect_block(gradient: Tensor, block: _Block, levels: Sequence[Tensor]) -> None:
    """The transpose of `_add_block`: add to the gradients of the tap products what one block of (H, W, O) gives."""
    large = gradient[block.rows, block.columns]
    wide = product(block.row_matrix.t(), large.flatten(1)).unflatten(1, large.shape[1:])
    for part, (rows, columns, matrix), level in zip(_parts(wide, block), block.sources, levels, strict=True):
        for tap in range(3):
            small = torch.bmm(matrix.t().expand(len(part[tap]), -1, -1), part[tap])
            target = level[tap, rows, columns]
            target += small.view(target.shape)


def _wide_buffer(pixels: Tensor, block: _Block) -> Tensor:
    return pixels.new_empty(block.row_matrix.shape[1], block.columns.stop - block.columns.start, pixels.shape[2])


def _parts(wide: Tensor, block: _Block) -> list[Tensor]:
    """The buffer's part of each map, (3 taps, rows, block's columns, O)."""
    sizes = [3 * (rows.stop - rows.start) for rows, _, _ in block.sources]
    return [part.unflatten(0, (3, -1)) for part in wide.split(sizes)]


def _axes(level: Tensor, size: Sequence[int], align_corners: bool) -> tuple[_Axis, _Axis]:
    vertical, horizontal = (
        _Axis(_taps(level, small, large, align_corners), align_corners)
        for small, large in zip(level.shape[2:], size, strict=True)
    )
    return vertical, horizontal


def _taps(like: Tensor, small: int, large: int, align_corners: bool) -> Tensor:
    """(large, small, 3): the enlargement along one axis as torch computes it, shifted by each tap."""
    precision = torch.float64 if like.dtype == torch.float64 else torch.float32
    enlarged = resizing_matrix(small, large, align_corners, precision)
    padded = functional.pad(enlarged, (0, 0, 1, 1))
    return torch.stack([padded[tap : tap + large] for tap in range(3)], dim=2).to(like)


def _by_tap(weight: Tensor, maps: Sequence[Tensor]) -> list[Tensor]:
    """(O, sum of C_i, 3, 3) -> per map (3 vertical taps, 3 horizontal taps x O, C_i)."""
    parts = weight.split([level.shape[1] for level in maps], dim=1)
    return [part.permute(2, 3, 0, 1).flatten(1, 2).contiguous() for part in parts]


def _rows(level: Tensor) -> Tensor:
    """(C, h, w) -> (h * w, C)."""
    return level.permute(1, 2, 0).flatten(0, 1)


def _tap_products(level: Tensor, weights: Tensor) -> Tensor:
    """(C, h, w), (3, 3 x O, C) -> (3 vertical taps, h, w, 3 horizontal taps, O)."""
    rows = _rows(level)
    products = rows.new_empty(3, len(rows), weights.shape[1])
    for tap, w in zip(products, weights, strict=True):
        tap.copy_(product(rows, w.t()))
    return products.unflatten(2, (3, -1)).unflatten(1, level.shape[1:])


def _no_products(level: Tensor, weight: Tensor) -> Tensor:
    return level.new_zeros(3, *level.shape[2:], 3, len(weight))


# The same for torch.compile, as operators that it calls and does not look into.
@torch.library.custom_op("densebench::enlarged_3x3", mutates_args=())
def _convolved_operator(maps: list[Tensor], weight: Tensor, size: list[int], align_corners: bool) -> Tensor:
    output = _output_like(maps, weight, size).zero_()
    _add(output, weight, maps, align_corners)
    return output


@torch.library.custom_op("densebench::enlarged_3x3_gradients", mutates_args=())
def _gradients_operator(grad_output: Tensor, maps: list[Tensor], weight: Tensor, align_corners: bool) -> list[Tensor]:
    return _gradients(grad_output, weight, maps, align_corners)


@_convolved_operator.register_fake
def _(maps: list[Tensor], weight: Tensor, size: list[int], align_corners: bool) -> Tensor:
    return _output_like(maps, weight, size)


@_gradients_operator.register_fake
def _(grad_output: Tensor, maps: list[Tensor], weight: Tensor, align_corners: bool) -> list[Tensor]:
    return [
        torch.empty(weight.shape, dtype=weight.dtype, device=weight.device),
        *(torch.empty_like(level, memory_format=torch.channels_last) for level in maps),
    ]


def _output_like(maps: Sequence[Tensor], weight: Tensor, size: Sequence[int]) -> Tensor:
    # `len` would fix the number of images when it is compiled.
    shape = (maps[0].shape[0], weight.shape[0], *size)
    return torch.empty(shape, dtype=maps[0].dtype, device=maps[0].device, memory_format=torch.channels_last)


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    maps, weight, _, ctx.align_corners = inputs
    ctx.save_for_backward(weight, *maps)


def _operator_backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
    weight, *maps = ctx.saved_tensors
    grad_weight, *grad_maps = _gradients_operator(grad_output, maps, weight, ctx.align_corners)
    return grad_maps, grad_weight, None, None


_convolved_operator.register_autograd(_operator_backward, setup_context=_keep_for_backward)

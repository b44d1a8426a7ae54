"""Depthwise convolution and its gradients by the convolution theorem: O(log) per element, whatever the kernel's size.

Real transforms of sizes that factor well; both gradients share the spectrum of the output's gradient. Large maps are
cut into tiles whose transforms fit the processor's caches, and channels are taken in groups, so that the work space
stays below `WORKSPACE_BYTES` (one channel of one tile, at most 0.7 MB in float32, is the least that is taken). Spectra
are not kept from the forward to the backward pass: they take more memory than the map that autograd keeps, to save two
transforms of eight. Half precision is computed in float32.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from backbones.layers.direct_convolution import Geometry, memory_format

# Of one group of channels. On the CPU about the share of the last-level cache; GPUs want larger batches of transforms.
WORKSPACE_BYTES = {"cpu": 16 * 2**20, "cuda": 256 * 2**20}
# Beyond it a transform leaves the cache: 1.5 ns per element at 192, 2.7 at 528, 5.5 at 1056 (float32).
MAX_LENGTH = 288

Size = tuple[int, int]


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """(N, C, H, W), (C, 1, K, L) -> (N, C, H', W'), in the layout of x; stride and dilation must be 1."""
    size, kernel = _spatial(x), _spatial(weight)
    shape = (*x.shape[:2], *geometry.output_size(size, kernel))
    output = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format(x))
    work = torch.promote_types(x.dtype, torch.float32)
    for tile in tiles(size, kernel, geometry):
        for images, channels in _groups(x, tile.length):
            spectrum = _transform(x[images, channels, tile.rows_in, tile.columns_in], work, tile.length)
            # conj_physical_: a lazy conj() is lost where torch.compile runs an operator.
            spectrum *= _transform(weight[channels, 0], work, tile.length).conj_physical_()
            # y[o] = sum of w[t] x[o + t - offset]: the correlation at o - offset.
            y = _window(torch.fft.irfft2(spectrum, tile.length), (-tile.offset[0], -tile.offset[1]), tile.size_out)
            if bias is not None:
                y += bias[channels, None, None]
            output[images, channels, tile.rows_out, tile.columns_out] = y
    return output


def backward(
    gradient: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, wants_x: bool, wants_weight: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients for x (N, C, H, W), in its layout, and weight (C, 1, K, L); None where one is not wanted."""
    size, kernel = _spatial(x), _spatial(weight)
    work = torch.promote_types(x.dtype, torch.float32)
    all_tiles = list(tiles(size, kernel, geometry))
    # Tiles overlap in x and meet in the weight: what several of them give is added up, in float32 at least.
    is_one = len(all_tiles) == 1
    x_gradient = weight_gradient = None
    if wants_x and is_one:
        x_gradient = torch.empty_like(x, memory_format=memory_format(x))
    elif wants_x:
        x_gradient = torch.zeros_like(x, dtype=work, memory_format=memory_format(x))
    if wants_weight:
        weight_gradient = weight.new_zeros(weight.shape, dtype=work)
    for tile in all_tiles:
        for images, channels in _groups(x, tile.length):
            part = gradient[images, channels, tile.rows_out, tile.columns_out]
            spectrum = _transform(part, work, tile.length)
            if x_gradient is not None:
                product = _transform(weight[channels, 0], work, tile.length) * spectrum
                found = _window(torch.fft.irfft2(product, tile.length), tile.offset, tile.size_in)
                part = x_gradient[images, channels, tile.rows_in, tile.columns_in]
                if is_one and part.shape == x_gradient[images, channels].shape:
                    part.copy_(found)
                else:
                    part += found
            if weight_gradient is not None:
                product = _transform(x[images, channels, tile.rows_in, tile.columns_in], work, tile.length)
                product = (product * spectrum.conj_physical_()).sum(0)
                start = (-tile.offset[0], -tile.offset[1])
                weight_gradient[channels, 0] += _window(torch.fft.irfft2(product, tile.length), start, kernel)
    return (
        None if x_gradient is None else x_gradient.to(x.dtype),
        None if weight_gradient is None else weight_gradient.to(weight.dtype),
    )


@dataclass(frozen=True)
class Tile:
    """A rectangle of the output, the rectangle of the input that it depends on, and its transform.

    Output element o of the tile depends on elements o + t - offset of its input, for the kernel's taps t.
    """

    rows_out: slice
    columns_out: slice
    rows_in: slice
    columns_in: slice
    offset: Size
    length: Size

    @property
    def size_out(self) -> Size:
        """Rows and columns of the output's rectangle."""
        return self.rows_out.stop - self.rows_out.start, self.columns_out.stop - self.columns_out.start

    @property
    def size_in(self) -> Size:
        """Rows and columns of the input's rectangle."""
        return self.rows_in.stop - self.rows_in.start, self.columns_in.stop - self.columns_in.start


def tiles(size: Size, kernel: Size, geometry: Geometry) -> Iterator[Tile]:
    """The tiles that make up the output; one where its transform is not longer than MAX_LENGTH."""
    output = geometry.output_size(size, kernel)
    rows, columns = (_intervals(size[i], output[i], kernel[i], geometry.padding[i]) for i in (0, 1))
    for row, column in itertools.product(rows, columns):
        yield Tile(row[0], column[0], row[1], column[1], (row[2], column[2]), (row[3], column[3]))


def _intervals(size: int, output: int, kernel: int, padding: int) -> Iterator[tuple[slice, slice, int, int]]:
    """Along one axis: output, input, offset and transform length of each tile."""
    whole = good_length(max(size + padding, output + kernel - 1 - padding, kernel))
    step = output if whole <= MAX_LENGTH else max(MAX_LENGTH - kernel + 1, kernel)
    for start in range(0, output, step):
        stop = min(start + step, output)
        first = min(max(start - padding, 0), size - 1)
        last = max(min(stop + kernel - 1 - padding, size), first + 1)
        offset = padding - start + first
        # Enough that what wraps around stays outside the outputs of all three correlations.
        need = max(last - first + offset, stop - start + kernel - 1 - offset, last - first, stop - start, kernel)
        yield slice(start, stop), slice(first, last), offset, good_length(need)


def good_length(minimum: int) -> int:
    """The next multiple of 4 with no prime factor above 5: transforms of other sizes take up to twice as long."""
    length = -(-minimum // 4) * 4
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 4


def _groups(x: Tensor, length: Size) -> Iterator[tuple[slice, slice]]:
    """Images and channels whose spectra, products and results fit the work space together."""
    images, channels = x.shape[:2]
    # Two spectra, a product and a real map at a time for each image, and one kernel's spectrum.
    bytes_per_plane = length[0] * (length[1] // 2 + 1) * 8 * 4 * (2 if x.dtype == torch.float64 else 1)
    planes = max(1, WORKSPACE_BYTES.get(x.device.type, WORKSPACE_BYTES["cuda"]) // bytes_per_plane)
    at_once = min(images, planes)
    group = max(1, planes // at_once)
    for channel in range(0, channels, group):
        for image in range(0, images, at_once):
            yield slice(image, image + at_once), slice(channel, channel + group)


def _transform(part: Tensor, work: torch.dtype, length: Size) -> Tensor:
    return torch.fft.rfft2(part.to(work), length)


def _window(periodic: Tensor, start: Size, size: Size) -> Tensor:
    """(..., L, M) -> (..., *size), from `start` on, around the edges of the period."""
    for dim, first, length in ((-2, start[0], size[0]), (-1, start[1], size[1])):
        period = periodic.shape[dim]
        first %= period
        if first + length <= period:
            periodic = periodic.narrow(dim, first, length)
        else:
            head = periodic.narrow(dim, first, period - first)
            periodic = torch.cat([head, periodic.narrow(dim, 0, length - (period - first))], dim)
    return periodic


def _spatial(x: Tensor) -> Size:
    return x.shape[-2], x.shape[-1]

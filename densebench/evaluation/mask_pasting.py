"""From a mask head's small masks straight to COCO's run lengths, without a picture between.

What mmdet does in four steps (Mask R-CNN, sec. 3.1: resize the m x m mask to its box, binarize; then encode) on a
tensor of N x H x W, one kernel does inside each box: sample, compare, count. Where the four corners of a cell of the
small mask lie clearly on one side of the threshold, none of its pixels is sampled.

Compiled by numba at the first call, and kept on disk for later ones.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypedDict

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

# Sampled values stay between their cell's corners but for rounding, which is far smaller than this.
MARGIN = np.float32(1e-5)
_OUTSIDE = -2  # a pixel whose four neighbours in the small mask are all padding


class RunLengths(TypedDict):
    """A binary mask in COCO's compressed format: height and width, and the text of its run lengths."""

    size: list[int]
    counts: bytes


def paste_and_encode(
    probabilities: Tensor | NDArray[Any], boxes: Tensor | NDArray[Any], height: int, width: int, threshold: float
) -> list[RunLengths]:
    """Masks of N objects as run lengths in an image of `height` x `width` pixels.

    Args:
        probabilities: (N, h, w), between 0 and 1, on any device.
        boxes: (N, 4), left, top, right, bottom in pixels of the image.
        threshold: above 0; a pixel belongs to the object from this probability on.

    Equal to mmdet's `_do_paste_mask` on the CPU, to the last bit of grid_sample's float32, and pycocotools' encode.

    Raises:
        ValueError: a threshold that is not above 0.
    """
    if threshold <= 0:
        raise ValueError(f"expected a threshold above 0, got {threshold}")
    masks, corners = _float32(probabilities), _float32(boxes).reshape(-1, 4)
    settings = (height, width, np.float32(threshold), grid_sample_is_fused())
    return [
        {"size": [height, width], "counts": _encoded(mask, box, *settings).tobytes()}
        for mask, box in zip(masks, corners, strict=True)
    ]


@cache
def grid_sample_is_fused() -> bool:
    """Whether torch's grid_sample rounds a * b + c once, as compiled for AVX2 and later, or twice."""
    mask = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.57, 0.61], [0.7, 0.83, 0.99]])
    place = torch.linspace(0.01, 0.6, 999)  # between the centre and its neighbours to the right and below
    found = grid_sample(mask[None, None], place[None, :, None, None].expand(1, 999, 1, 2), align_corners=False)
    after = (place + 1) * 1.5 - 0.5 - 1
    before = 1 - after
    a, b, c, d = mask[1:, 1:].flatten()
    twice_rounded = a * (before * before) + b * (after * before) + c * (before * after) + d * (after * after)
    return not torch.equal(found.flatten(), twice_rounded)


@njit(cache=True, error_model="numpy")
def _encoded(
    mask: NDArray[np.float32], box: NDArray[np.float32], height: int, width: int, threshold: np.float32, is_fused: bool
) -> NDArray[np.uint8]:
    """The text of one mask's run lengths: (h, w) probabilities in a box (4)."""
    rows, columns = mask.shape
    # As mmdet: the pixels that the box touches, and one more on each side.
    left, top = max(int(np.floor(box[0])) - 1, 0), max(int(np.floor(box[1])) - 1, 0)
    right, bottom = min(int(np.ceil(box[2])) + 1, width), min(int(np.ceil(box[3])) + 1, height)
    if left >= right or top >= bottom:
        return _compressed(np.empty(0, np.int64), 0, height * width)
    xs = _positions(left, right, box[0], box[2], columns, is_fused)
    ys = _positions(top, bottom, box[1], box[3], rows, is_fused)
    padded = np.zeros((rows + 2, columns + 2), np.float32)
    padded[1:-1, 1:-1] = mask
    kinds = _cell_kinds(padded, threshold)
    starts, cells = _row_runs(ys, rows)

    # Where the mask begins and ends, alternately, counted down the columns: at most once a pixel, and once a column.
    changes = np.empty((right - left) * (bottom - top + 1), np.int64)
    number = 0
    one = np.float32(1)
    for x in range(left, right):
        column = _cell(xs[x - left], columns)
        if column == _OUTSIDE:
            continue
        east = xs[x - left] - np.float32(column)
        west = one - east
        origin = x * height + top
        inside = False
        for run in range(len(cells)):
            row = cells[run]
            kind = 0 if row == _OUTSIDE else kinds[row + 1, column + 1]
            if kind < 2:
                if inside != (kind == 1):
                    inside = not inside
                    number = _change(changes, number, origin + starts[run])
                continue
            a, b = padded[row + 1, column + 1], padded[row + 1, column + 2]
            c, d = padded[row + 2, column + 1], padded[row + 2, column + 2]
            for index in range(starts[run], starts[run + 1]):
                south = ys[index] - np.float32(row)
                north = one - south
                value = _multiply_add(b, east * north, a * (west * north), is_fused)
                value = _multiply_add(c, west * south, value, is_fused)
                value = _multiply_add(d, east * south, value, is_fused)
                if inside != (value >= threshold):
                    inside = not inside
                    number = _change(changes, number, origin + index)
        if inside:
            number = _change(changes, number, x * height + bottom)
    return _compressed(changes, number, height * width)


@njit(cache=True, error_model="numpy")
def _positions(
    first: int, last: int, low: np.float32, high: np.float32, size: int, is_fused: bool
) -> NDArray[np.float32]:
    """Where the centres of pixels first..last - 1 lie in a mask of `size` cells between `low` and `high`."""
    positions = np.empty(last - first, np.float32)
    half, one, two = np.float32(0.5), np.float32(1), np.float32(2)
    for index in range(last - first):
        # grid_sample's coordinates: -1 and 1 at the outer edges.
        place = (np.float32(first + index) + half - low) / (high - low) * two - one
        if np.isinf(place):
            place = np.float32(0)
        positions[index] = _multiply_add(place + one, np.float32(size) * half, -half, is_fused)
    return positions


@njit(cache=True)
def _cell(position: np.float32, size: int) -> int:
    """The neighbour before a position, -1 at the first edge; nan (a box without extent) is outside."""
    return int(np.floor(position)) if -1 < position < size else _OUTSIDE


@njit(cache=True)
def _row_runs(positions: NDArray[np.float32], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that follow one another in the same cell: R + 1 indices where a run of them begins, and its cell (R)."""
    starts, cells = np.empty(len(positions) + 1, np.int64), np.empty(len(positions), np.int64)
    number = 0
    for index in range(len(positions)):
        cell = _cell(positions[index], size)
        if number == 0 or cells[number - 1] != cell:
            starts[number], cells[number] = index, cell
            number += 1
    starts[number] = len(positions)
    return starts[: number + 1], cells[:number]


@njit(cache=True)
def _cell_kinds(padded: NDArray[np.float32], threshold: np.float32) -> NDArray[np.uint8]:
    """Of the cells between four corners: 0 clearly below the threshold, 1 clearly above it, 2 to be sampled."""
    rows, columns = padded.shape
    kinds = np.full((rows - 1, columns - 1), 2, np.uint8)
    for row in range(rows - 1):
        for column in range(columns - 1):
            a, b = padded[row, column], padded[row, column + 1]
            c, d = padded[row + 1, column], padded[row + 1, column + 1]
            if max(max(a, b), max(c, d)) < threshold - MARGIN:
                kinds[row, column] = 0
            elif min(min(a, b), min(c, d)) >= threshold + MARGIN:
                kinds[row, column] = 1
    return kinds


@njit(cache=True)
def _multiply_add(a: np.float32, b: np.float32, c: np.float32, is_fused: bool) -> np.float32:
    """a * b + c, rounded once if fused (the product is exact in float64), else twice."""
    return np.float32(np.float64(a) * np.float64(b) + np.float64(c)) if is_fused else a * b + c


@njit(cache=True)
def _change(changes: NDArray[np.int64], number: int, place: int) -> int:
    """Note a change, or take back the one at the same place: a column that ends and the next that begins inside."""
    if number > 0 and changes[number - 1] == place:
        return number - 1
    changes[number] = place
    return number + 1


@njit(cache=True)
def _compressed(changes: NDArray[np.int64], number: int, total: int) -> NDArray[np.uint8]:
    """COCO's text of run lengths: 5 bits a character, from the third run on the difference to the last but one."""
    if number > 0 and changes[number - 1] == total:
        number -= 1  # the last run ends with the image
    text = np.empty(7 * (number + 1), np.uint8)
    length = 0
    runs = np.empty(number + 1, np.int64)
    for index in range(number + 1):
        begin = changes[index - 1] if index > 0 else 0
        runs[index] = (changes[index] if index < number else total) - begin
        rest = runs[index] - (runs[index - 2] if index > 2 else 0)
        more = True
        while more:
            bits = rest & 0x1F
            rest >>= 5
            more = rest != -1 if bits & 0x10 else rest != 0
            text[length] = (bits | 0x20 if more else bits) + 48
            length += 1
    return text[:length]


def _float32(values: Tensor | NDArray[Any]) -> NDArray[np.float32]:
    array = values.detach().float().cpu().numpy() if isinstance(values, Tensor) else values
    return np.ascontiguousarray(array, np.float32)

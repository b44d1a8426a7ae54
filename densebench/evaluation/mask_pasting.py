"""From a mask head's small masks straight to COCO's run lengths, without a picture between.

What mmdet does in four steps (Mask R-CNN, sec. 3.1: resize the m x m mask to its box, binarize; then encode) on a
tensor of N x H x W, one kernel does inside each box: sample, compare, count. Where the four corners of a cell of the
small mask lie clearly on one side of the threshold, none of its pixels is sampled.

Compiled by numba at the first call, and kept on disk for later ones.
"""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

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

    Equal to mmdet's `_do_paste_mask` on the CPU, with torch's grid_sample in float32 where it is compiled with fused
    multiply-adds (AVX2 and later), and pycocotools' encode.

    Raises:
        ValueError: a threshold that is not above 0.
    """
    if threshold <= 0:
        raise ValueError(f"expected a threshold above 0, got {threshold}")
    masks, corners = _float32(probabilities), _float32(boxes).reshape(-1, 4)
    return [
        {"size": [height, width], "counts": _encoded(mask, box, height, width, np.float32(threshold)).tobytes()}
        for mask, box in zip(masks, corners, strict=True)
    ]


@njit(cache=True, error_model="numpy")
def _encoded(
    mask: NDArray[np.float32], box: NDArray[np.float32], height: int, width: int, threshold: np.float32
) -> NDArray[np.uint8]:
    """The text of one mask's run lengths: (h, w) probabilities in a box (4)."""
    rows, columns = mask.shape
    # As mmdet: the pixels that the box touches, and one more on each side.
    left, top = max(int(np.floor(box[0])) - 1, 0), max(int(np.floor(box[1])) - 1, 0)
    right, bottom = min(int(np.ceil(box[2])) + 1, width), min(int(np.ceil(box[3])) + 1, height)
    if left >= right or top >= bottom:
        return _compressed(np.empty(0, np.int64), 0, height * width)
    xs, ys = _positions(left, right, box[0], box[2], columns), _positions(top, bottom, box[1], box[3], rows)
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
                value = _fused(b, east * north, a * (west * north))
                value = _fused(d, east * south, _fused(c, west * south, value))
                if inside != (value >= threshold):
                    inside = not inside
                    number = _change(changes, number, origin + index)
        if inside:
            number = _change(changes, number, x * height + bottom)
    return _compressed(changes, number, height * width)


@njit(cache=True, error_model="numpy")
def _positions(first: int, last: int, low: np.float32, high: np.float32, size: int) -> NDArray[np.float32]:
    """Where the centres of pixels first..last - 1 lie in a mask of `size` cells between `low` and `high`."""
    positions = np.empty(last - first, np.float32)
    half, one, two = np.float32(0.5), np.float32(1), np.float32(2)
    for index in range(last - first):
        # grid_sample's coordinates: -1 and 1 at the outer edges.
        place = (np.float32(first + index) + half - low) / (high - low) * two - one
        if np.isinf(place):
            place = np.float32(0)
        positions[index] = _fused(place + one, np.float32(size) * half, -half)
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
def _fused(a: np.float32, b: np.float32, c: np.float32) -> np.float32:
    """a * b + c rounded once, as torch's compiled grid_sample has it; the product is exact in float64."""
    return np.float32(np.float64(a) * np.float64(b) + np.float64(c))


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

"""Bilinear resizing as matrices, one an axis: blocks of a result can be computed without the rest."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from densebench.products import product

# Columns of the result that are computed at once; the wider, the more zeros of the matrix are multiplied.
COLUMNS_AT_ONCE = 32


def resizing_matrix(small: int, large: int, align_corners: bool, dtype: torch.dtype = torch.float32) -> Tensor:
    """(large, small): what every pixel takes from every pixel of the map before, as torch's `interpolate` has it."""
    # The resized unit vector of a pixel is what this pixel gives to every other.
    units = torch.eye(small, dtype=dtype)
    return functional.interpolate(units[None], large, mode="linear", align_corners=align_corners)[0].t()


def resized_rows(maps: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Some rows of resized maps: (h, w, K), (some of H, h), (W, w) -> (some of H, W, K); never in less precision."""
    first, last = _support(rows)
    high = product(rows[:, first:last].to(maps), maps[first:last].flatten(1)).unflatten(1, maps.shape[1:])
    result = maps.new_empty(len(rows), len(columns), maps.shape[2])
    for left in range(0, len(columns), COLUMNS_AT_ONCE):
        block = columns[left : left + COLUMNS_AT_ONCE]
        first, last = _support(block)
        matrix = block[:, first:last].to(maps).expand(len(rows), -1, -1)
        with torch.autocast(maps.device.type, enabled=False):
            result[:, left : left + len(block)] = torch.bmm(matrix, high[:, first:last])
    return result


def _support(matrix: Tensor) -> tuple[int, int]:
    """The columns of a matrix between which all its entries lie."""
    found = matrix.any(dim=0).nonzero()
    return int(found[0]), int(found[-1]) + 1

"""The class scores of one view of an image at the network's own resolution, and how they are enlarged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from densebench.bilinear import resized_rows, resizing_matrix
from densebench.products import product

# Scores that are enlarged at once, in numbers: 4 MiB of them stay in a processor's cache.
NUMBERS_AT_ONCE = 2**20


@dataclass(frozen=True)
class ViewScores:
    """Scores and the matrices that resize and mirror them to the original image."""

    maps: Tensor  # (h, w, classes), float32
    rows: Tensor  # (H, h)
    columns: Tensor  # (W, w)

    def block(self, first: int, last: int) -> Tensor:
        """Rows first..last - 1 of the scores at the original size, (rows, W, classes)."""
        return resized_rows(self.maps, self.rows[first:last], self.columns)

    @property
    def rows_at_once(self) -> int:
        """As many as stay in the cache."""
        return max(NUMBERS_AT_ONCE // (len(self.columns) * self.maps.shape[2]), 1)

    @property
    def num_bytes(self) -> int:
        """What keeping the scores takes."""
        return self.maps.numel() * self.maps.element_size()


def view_scores(segmentor: Any, image: Tensor, metainfo: Mapping[str, Any]) -> ViewScores:
    """Run an mmseg EncoderDecoder on one preprocessed view (3, H, W).

    What mmseg does to whole maps of scores, one after the other (resize to the view, cut the padding off, mirror back,
    resize to the original image), is put into one matrix for the rows and one for the columns.
    """
    align_corners = segmentor.align_corners
    if segmentor.test_cfg.get("mode", "whole") == "slide":
        maps = _slide(segmentor, image)
    else:
        maps = _scores(segmentor, image[None])[0]
    left, right, top, bottom = metainfo.get("img_padding_size", metainfo.get("padding_size", (0, 0, 0, 0)))
    mirrored = metainfo.get("flip_direction") if metainfo.get("flip") else None
    axes = (
        (maps.shape[0], image.shape[1], (top, bottom), mirrored == "vertical", metainfo["ori_shape"][0]),
        (maps.shape[1], image.shape[2], (left, right), mirrored == "horizontal", metainfo["ori_shape"][1]),
    )
    rows, columns = (_axis_matrix(*axis, align_corners) for axis in axes)
    return ViewScores(maps, rows, columns)


def _axis_matrix(
    small: int, view: int, padding: tuple[int, int], is_mirrored: bool, original: int, align_corners: bool
) -> Tensor:
    matrix = resizing_matrix(small, view, align_corners)[padding[0] : view - padding[1]]
    if is_mirrored:
        matrix = matrix.flip(0)
    if len(matrix) != original:
        matrix = product(resizing_matrix(len(matrix), original, align_corners), matrix)
    return matrix


def _scores(segmentor: Any, images: Tensor) -> Tensor:
    """(N, 3, H, W) -> (N, h, w, classes), in float32 also where the network runs in less."""
    logits = segmentor.decode_head(segmentor.extract_feat(images))
    return logits.permute(0, 2, 3, 1).float().contiguous()


def _slide(segmentor: Any, image: Tensor) -> Tensor:
    """(3, H, W) -> (H, W, classes): the scores of overlapping windows, averaged where they overlap."""
    size, crop, stride = image.shape[1:], segmentor.test_cfg.crop_size, segmentor.test_cfg.stride
    tops, lefts = (_starts(*axis) for axis in zip(size, crop, stride, strict=True))
    height, width = (min(pair) for pair in zip(size, crop, strict=True))
    corners = [(top, left) for top in tops for left in lefts]
    totals: Tensor | None = None
    # A GPU is not filled by one window; a CPU gains nothing from more.
    at_once = 4 if image.is_cuda else 1
    for start in range(0, len(corners), at_once):
        batch = corners[start : start + at_once]
        windows = torch.stack([image[:, top : top + height, left : left + width] for top, left in batch])
        for (top, left), maps in zip(batch, _scores(segmentor, windows), strict=True):
            if totals is None:
                totals = maps.new_zeros(*size, maps.shape[2])
            rows = resizing_matrix(len(maps), height, segmentor.decode_head.align_corners)
            columns = resizing_matrix(maps.shape[1], width, segmentor.decode_head.align_corners)
            scores = ViewScores(maps, rows, columns)
            for first in range(0, height, scores.rows_at_once):
                block = scores.block(first, first + scores.rows_at_once)
                totals[top + first : top + first + len(block), left : left + width] += block
    assert totals is not None
    counts = [
        _cover(starts, side, whole) for starts, side, whole in zip((tops, lefts), (height, width), size, strict=True)
    ]
    return totals.div_((counts[0][:, None] * counts[1]).unsqueeze(2).to(totals))


def _starts(whole: int, crop: int, stride: int) -> list[int]:
    """Where the windows along one axis begin; the last one ends with the image (mmseg's slide_inference)."""
    number = max(whole - crop + stride - 1, 0) // stride + 1
    return [max(min(index * stride + crop, whole) - crop, 0) for index in range(number)]


def _cover(starts: list[int], side: int, whole: int) -> Tensor:
    """(whole,): how many windows cover each pixel of an axis."""
    cover = torch.zeros(whole)
    for start in starts:
        cover[start : start + side] += 1
    return cover

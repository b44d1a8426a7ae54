"""Detections drawn over their image: masks, boxes, class names and scores."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pycocotools import mask as run_lengths

Colour = tuple[int, int, int]
Rectangle = tuple[float, float, float, float]  # left, top, right, bottom

SHOWN_SCORE = 0.3  # mmdet's own; below it pictures of good detectors drown in boxes
_MASK_OPACITY = 0.45
_GOLDEN_RATIO = (5**0.5 - 1) / 2


def draw_detections(
    image: NDArray[np.uint8],
    boxes: NDArray[Any],
    labels: NDArray[Any],
    scores: NDArray[Any],
    masks: Sequence[Mapping[str, Any]],
    classes: Sequence[str],
) -> NDArray[np.uint8]:
    """(H, W, 3) image with those of its N detections that score `SHOWN_SCORE` or more, the best on top.

    `boxes` (N, 4) are left, top, right, bottom in pixels, `masks` N run lengths or none. A class has one colour in all
    pictures; outlines part the masks of neighbours.
    """
    shown = [index for index in np.argsort(scores, kind="stable") if scores[index] >= SHOWN_SCORE]
    canvas = image.copy()
    for index in shown if masks else ():
        _paint(canvas, run_lengths.decode(dict(masks[index])) > 0, colour_of(int(labels[index])))
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    size = max(11, round(min(image.shape[:2]) / 40))
    font = ImageFont.load_default(size)
    for index in shown:
        left, top, right, bottom = boxes[index].tolist()
        corners = (left, top, max(left, right - 1), max(top, bottom - 1))
        draw.rectangle(corners, outline=colour_of(int(labels[index])), width=max(2, size // 6))
    taken: list[Rectangle] = []
    for index in reversed(shown):  # the best detection's name has the first choice of its place
        text = f"{classes[int(labels[index])]} {scores[index]:.2f}"
        width, height = draw.textlength(text, font) + 4, size + 4
        place = _free_place(boxes[index].tolist(), width, height, image.shape[1], image.shape[0], taken)
        taken.append(place)
        colour = colour_of(int(labels[index]))
        draw.rectangle(place, fill=colour)
        is_bright = colour[0] * 0.299 + colour[1] * 0.587 + colour[2] * 0.114 > 140
        draw.text((place[0] + 2, place[1] + 1), text, fill=(0, 0, 0) if is_bright else (255, 255, 255), font=font)
    return np.asarray(picture)


def colour_of(label: int) -> Colour:
    """A class's colour: hues a golden section apart, so that neighbours in the list of classes differ."""
    red, green, blue = colorsys.hsv_to_rgb(label * _GOLDEN_RATIO % 1, (0.9, 0.6)[label % 2], 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def _paint(canvas: NDArray[np.uint8], mask: NDArray[np.bool_], colour: Colour) -> None:
    """Lay a mask (H, W) over the canvas, with an opaque outline."""
    within = np.pad(mask, 1)
    within = within[:-2, 1:-1] & within[2:, 1:-1] & within[1:-1, :-2] & within[1:-1, 2:]
    canvas[mask] = (1 - _MASK_OPACITY) * canvas[mask] + _MASK_OPACITY * np.array(colour)
    canvas[mask & ~within] = colour


def _free_place(
    box: Sequence[float], width: float, height: float, image_width: int, image_height: int, taken: Sequence[Rectangle]
) -> Rectangle:
    """Where a name of this size goes: on top of its box, inside it, or below, the first that hides no other name."""
    left, top, _, bottom = box
    x = max(0.0, min(left, image_width - width))
    rows = (top - height, top, bottom, top + height, bottom - height, top + 2 * height)
    places = [(x, y, x + width, y + height) for y in (max(0.0, min(row, image_height - height)) for row in rows)]
    return next((place for place in places if not any(_overlap(place, other) for other in taken)), places[0])


def _overlap(one: Rectangle, other: Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]

"""The countable objects of the synthetic scenes: each drawn as a small picture with its mask.

A shape takes its size in pixels and two colours (three RGB values of 0..255 each) and returns the picture,
(H, W, 3) uint8, and the mask, (H, W) bool. Colours come from one palette for all classes, so that a class shows by
its outline and its markings only.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

Colour = tuple[int, int, int]
Picture = tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]
Shape = Callable[[int, int, Colour, Colour], Picture]


class _Sketch:
    """A picture in the making; coordinates run from 0 to 100 in both directions, whatever the size in pixels."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.pixels = np.zeros((height, width, 3), np.uint8)
        self.mask = np.zeros((height, width), np.uint8)

    def polygon(self, colour: Colour, *points: tuple[int, int]) -> None:
        corners = np.array([self._pixel(x, y) for x, y in points], np.int32)
        cv2.fillPoly(self.pixels, [corners], colour)
        cv2.fillPoly(self.mask, [corners], 1)

    def rectangle(self, colour: Colour, left: int, top: int, right: int, bottom: int) -> None:
        self.polygon(colour, (left, top), (right, top), (right, bottom), (left, bottom))

    def ellipse(self, colour: Colour, x: int, y: int, radius_x: int, radius_y: int) -> None:
        axes = max(1, radius_x * (self.width - 1) // 100), max(1, radius_y * (self.height - 1) // 100)
        cv2.ellipse(self.pixels, self._pixel(x, y), axes, 0, 0, 360, colour, cv2.FILLED)
        cv2.ellipse(self.mask, self._pixel(x, y), axes, 0, 0, 360, 1, cv2.FILLED)

    def line(self, colour: Colour, start: tuple[int, int], end: tuple[int, int], width: int) -> None:
        thickness = max(1, width * min(self.height, self.width) // 100)
        cv2.line(self.pixels, self._pixel(*start), self._pixel(*end), colour, thickness)
        cv2.line(self.mask, self._pixel(*start), self._pixel(*end), 1, thickness)

    def finish(self) -> Picture:
        return self.pixels, self.mask.astype(np.bool_)

    def _pixel(self, x: int, y: int) -> tuple[int, int]:
        return x * (self.width - 1) // 100, y * (self.height - 1) // 100


def person(height: int, width: int, colour: Colour, accent: Colour) -> Picture:
    """Head, shirt, two legs."""
    sketch = _Sketch(height, width)
    sketch.polygon(accent, (28, 55), (72, 55), (80, 100), (56, 100), (50, 66), (44, 100), (20, 100))
    sketch.polygon(colour, (22, 25), (78, 25), (95, 58), (72, 60), (28, 60), (5, 58))
    sketch.ellipse((214, 168, 136), 50, 13, 24, 12)
    return sketch.finish()


def car(height: int, width: int, colour: Colour, accent: Colour) -> Picture:
    """Body, cabin with windows, two wheels."""
    sketch = _Sketch(height, width)
    sketch.polygon(colour, (22, 42), (34, 8), (70, 8), (84, 42), (100, 50), (100, 80), (0, 80), (0, 46))
    sketch.polygon((60, 72, 84), (32, 40), (40, 16), (66, 16), (75, 40))
    sketch.line(colour, (53, 16), (53, 40), 8)
    for x in (22, 78):
        sketch.ellipse((28, 28, 30), x, 80, 11, 18)
        sketch.ellipse(accent, x, 80, 4, 7)
    return sketch.finish()


def boat(height: int, width: int, colour: Colour, accent: Colour) -> Picture:
    """Hull, mast and a triangular sail."""
    sketch = _Sketch(height, width)
    sketch.polygon(colour, (0, 70), (100, 70), (80, 100), (18, 100))
    sketch.polygon(accent, (46, 4), (46, 64), (8, 64))
    sketch.polygon(colour, (56, 16), (56, 64), (88, 64))
    sketch.line((70, 50, 34), (50, 0), (50, 72), 5)
    return sketch.finish()


def ball(height: int, width: int, colour: Colour, accent: Colour) -> Picture:
    """A disc with a band across."""
    sketch = _Sketch(height, width)
    sketch.ellipse(colour, 50, 50, 49, 49)
    sketch.polygon(accent, (14, 30), (30, 14), (86, 70), (70, 86))
    return sketch.finish()


def clock(height: int, width: int, colour: Colour, accent: Colour) -> Picture:
    """A disc with a bright face and two hands."""
    del accent  # the face of every clock is bright
    sketch = _Sketch(height, width)
    sketch.ellipse(colour, 50, 50, 49, 49)
    sketch.ellipse((232, 228, 214), 50, 50, 35, 35)
    sketch.line((30, 30, 34), (50, 50), (50, 22), 6)
    sketch.line((30, 30, 34), (50, 50), (70, 60), 6)
    return sketch.finish()


def box(height: int, width: int, colour: Colour, accent: Colour) -> Picture:
    """A rectangle with a ribbon both ways."""
    sketch = _Sketch(height, width)
    sketch.rectangle(colour, 0, 10, 100, 100)
    sketch.rectangle(accent, 40, 10, 60, 100)
    sketch.rectangle(accent, 0, 46, 100, 62)
    return sketch.finish()


def signboard(height: int, width: int, colour: Colour, accent: Colour) -> Picture:
    """A board with lines of writing on a post."""
    sketch = _Sketch(height, width)
    sketch.rectangle((92, 92, 96), 44, 60, 56, 100)
    sketch.rectangle(colour, 0, 0, 100, 62)
    for top in (12, 28, 44):
        sketch.rectangle(accent, 12, top, 88, top + 7)
    return sketch.finish()


def flag(height: int, width: int, colour: Colour, accent: Colour) -> Picture:
    """A pole with a cloth of three upright stripes."""
    sketch = _Sketch(height, width)
    sketch.rectangle(colour, 10, 4, 40, 52)
    sketch.rectangle(accent, 40, 8, 70, 56)
    sketch.rectangle(colour, 70, 4, 100, 52)
    sketch.rectangle((92, 92, 96), 0, 0, 10, 100)
    return sketch.finish()

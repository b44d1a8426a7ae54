"""Textures of the synthetic scenes, in integer arithmetic so that they come out alike on every machine.

Each function returns (H, W) int32 brightness offsets, to be added to a base colour of 0..255. Only integers are
drawn from the generator and no trigonometry is used: floating-point libraries differ in the last bit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Offsets = npt.NDArray[np.int32]
Texture = Callable[[np.random.Generator, int, int], Offsets]


def smooth_noise(rng: np.random.Generator, height: int, width: int, cell_height: int, cell_width: int) -> Offsets:
    """Random values of 0..255 on a grid of cells, interpolated linearly to (H, W)."""
    grid = rng.integers(0, 256, (height // cell_height + 2, width // cell_width + 2), dtype=np.int32)
    row, below = np.divmod(np.arange(height, dtype=np.int32)[:, None], np.int32(cell_height))
    column, right = np.divmod(np.arange(width, dtype=np.int32)[None, :], np.int32(cell_width))
    upper = grid[row, column] * (cell_width - right) + grid[row, column + 1] * right
    lower = grid[row + 1, column] * (cell_width - right) + grid[row + 1, column + 1] * right
    return (upper * (cell_height - below) + lower * below) // np.int32(cell_height * cell_width)


def clouds(rng: np.random.Generator, height: int, width: int) -> Offsets:
    """A vertical brightness gradient with a few soft clouds (sky)."""
    gradient = (np.arange(height, dtype=np.int32) * 40 // height - 20)[:, None]
    puffs = np.maximum(smooth_noise(rng, height, width, 14, 40) - 150, 0) * 2 // 5
    return gradient + puffs


def waves(rng: np.random.Generator, height: int, width: int) -> Offsets:
    """Horizontal wave crests, bent by noise (water)."""
    rows = np.arange(height, dtype=np.int32)[:, None]
    bend = smooth_noise(rng, height, width, 10, 24) // 18
    return _triangle_wave(rows + bend, period=6) // 5 - 25


def blades(rng: np.random.Generator, height: int, width: int) -> Offsets:
    """Fine vertical streaks (grass)."""
    return (smooth_noise(rng, height, width, 5, 1) - 128) // 4


def leaves(rng: np.random.Generator, height: int, width: int) -> Offsets:
    """Round blotches of two sizes (tree)."""
    coarse = smooth_noise(rng, height, width, 5, 5) - 128
    fine = smooth_noise(rng, height, width, 2, 2) - 128
    return (coarse * 2 + fine) // 6


def speckle(rng: np.random.Generator, height: int, width: int) -> Offsets:
    """Weak isotropic grain over slow patches (road)."""
    grain = rng.integers(-14, 15, (height, width), dtype=np.int32)
    return grain + (smooth_noise(rng, height, width, 16, 30) - 128) // 12


def bricks(rng: np.random.Generator, height: int, width: int) -> Offsets:
    """Courses of bricks, every other one shifted by half a brick, with dark mortar (wall)."""
    rows = np.arange(height, dtype=np.int32)[:, None] + rng.integers(0, 8, dtype=np.int32)
    course = rows // 4
    columns = np.arange(width, dtype=np.int32)[None, :] + course % 2 * 5 + rng.integers(0, 8, dtype=np.int32)
    shades = rng.integers(-12, 13, (64, 64), dtype=np.int32)
    mortar = (rows % 4 == 0) | (columns % 10 == 0)
    return np.where(mortar, np.int32(-34), shades[course % 64, columns // 10 % 64])


def windows(rng: np.random.Generator, height: int, width: int) -> Offsets:
    """A grid of windows, most of them dark, some of them lit (building)."""
    row, y = np.divmod(np.arange(height, dtype=np.int32)[:, None], np.int32(9))
    column, x = np.divmod(np.arange(width, dtype=np.int32)[None, :], np.int32(7))
    panes = np.where(rng.integers(0, 4, (64, 64)) == 0, np.int32(45), np.int32(-50))
    is_pane = (y >= 3) & (y < 8) & (x >= 2) & (x < 6)
    return np.where(is_pane, panes[row % 64, column % 64], np.int32(0))


def ridges(rng: np.random.Generator, height: int, width: int) -> Offsets:
    """Slanting folds, bent by noise (mountain)."""
    rows = np.arange(height, dtype=np.int32)[:, None]
    columns = np.arange(width, dtype=np.int32)[None, :]
    bend = smooth_noise(rng, height, width, 12, 12) // 12
    return _triangle_wave(rows + columns + bend, period=18) // 6 - 21


def grain(rng: np.random.Generator, height: int, width: int) -> Offsets:
    """Strong unstructured noise (objects of no class)."""
    return rng.integers(-60, 61, (height, width), dtype=np.int32)


def _triangle_wave(phase: Offsets, period: int) -> Offsets:
    """0..255..0 over each period of `phase`."""
    return np.abs(2 * (phase % period) - period) * np.int32(255) // np.int32(period)

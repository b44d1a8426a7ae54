"""Small synthetic outdoor scenes with exact labels, made from a seed; no data set layout is known here.

The scenes are meant to be learned a little in a few hundred steps and better by a better model: classes share
colours, so that texture, outline and position decide; objects hide one another; light, noise and sizes vary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from densebench.data import shapes, textures
from densebench.data.shapes import Colour, Picture, Shape
from densebench.data.textures import Texture

# Raised when the same seed gives another picture than before: cached miniature data sets are then made anew.
GENERATOR_VERSION = 1
UNLABELLED = 255

Mask = npt.NDArray[np.bool_]
Range = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

# Base colours overlap between classes on purpose: each is drawn from one of a few families.
_FAMILIES: dict[str, Range] = {
    "blue": ((70, 130), (110, 170), (150, 215)),
    "green": ((60, 125), (105, 165), (45, 95)),
    "grey": ((105, 175), (105, 175), (108, 180)),
    "warm": ((150, 205), (110, 155), (75, 120)),
}
_STUFF: dict[str, tuple[Texture, tuple[str, ...]]] = {
    "sky": (textures.clouds, ("blue", "blue", "grey", "warm")),
    "mountain": (textures.ridges, ("blue", "green", "grey")),
    "grass": (textures.blades, ("green", "green", "warm")),
    "road": (textures.speckle, ("grey", "grey", "warm")),
    "water": (textures.waves, ("blue", "blue", "grey", "green")),
    "building": (textures.windows, ("grey", "warm", "blue")),
    "wall": (textures.bricks, ("warm", "warm", "grey")),
    "tree": (textures.leaves, ("green", "green", "green", "warm")),
}
# Name: the shape, its height and width in percent of the height of a person at the same depth.
_THINGS: dict[str, tuple[Shape, int, int]] = {
    "person": (shapes.person, 130, 60),
    "car": (shapes.car, 75, 135),
    "boat": (shapes.boat, 110, 110),
    "ball": (shapes.ball, 75, 75),
    "clock": (shapes.clock, 65, 65),
    "box": (shapes.box, 65, 75),
    "signboard": (shapes.signboard, 110, 75),
    "flag": (shapes.flag, 130, 80),
}
_THING_COLOURS: tuple[Colour, ...] = (
    (196, 48, 44),
    (222, 178, 52),
    (52, 88, 178),
    (62, 138, 74),
    (226, 224, 218),
    (58, 54, 58),
    (204, 116, 52),
)
CLASSES: tuple[str, ...] = (*_STUFF, *_THINGS)
THING_CLASSES: frozenset[int] = frozenset(CLASSES.index(name) for name in _THINGS)
# An object of which less is seen is left unlabelled, as annotators do.
_MIN_VISIBLE_PIXELS = 16


@dataclass(frozen=True, eq=False)
class Instance:
    """One countable object, as far as it is visible.

    `mask` is (H, W) bool; `box` is left, top, right, bottom in pixels, right and bottom exclusive.
    """

    class_index: int
    mask: Mask
    box: tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Scene:
    """`image` (H, W, 3) uint8 RGB; `label` (H, W) uint8, an index into CLASSES or UNLABELLED; nearest instance last."""

    image: npt.NDArray[np.uint8]
    label: npt.NDArray[np.uint8]
    instances: tuple[Instance, ...]


def make_scene(seed: int, height: int, width: int) -> Scene:
    """The scene of a seed: equal arguments give equal pixels. Both sides must be at least 32 pixels."""
    if min(height, width) < 32:
        raise ValueError(f"a scene is at least 32 x 32 pixels, not {width} x {height} (width x height)")
    rng = np.random.Generator(np.random.PCG64(seed))
    canvas = _Canvas(rng, height, width)
    horizon = height * int(rng.integers(30, 56)) // 100
    _paint_sky_and_ground(canvas, horizon)
    _place_objects(canvas, horizon)
    if rng.integers(2):
        edge = int(rng.integers(2, 5))  # the dark edge of a scan
        canvas.pixels[:, :edge], canvas.label[:, :edge] = 20, UNLABELLED
    instances = tuple(_visible_instances(canvas))
    return Scene(_photograph(rng, canvas.pixels), canvas.label, instances)


class _Canvas:
    """The scene in the making: `pixels` (H, W, 3) int32, `label` (H, W), `owner` (H, W): 1 + index in `drawn`."""

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self.rng, self.height, self.width = rng, height, width
        self.pixels = np.zeros((height, width, 3), np.int32)
        self.label = np.full((height, width), UNLABELLED, np.uint8)
        self.owner = np.zeros((height, width), np.int32)
        self.drawn: list[int] = []  # the class of each object

    def fill(self, name: str, mask: Mask) -> None:
        """Cover a region, (H, W) bool, with a stuff class in a colour of its own."""
        texture, families = _STUFF[name]
        colour = _draw_colour(self.rng, families)
        offsets = texture(self.rng, self.height, self.width)
        self._cover(mask, colour + offsets[..., None], CLASSES.index(name), owner=0)

    def fill_unlabelled(self, mask: Mask) -> None:
        """Cover a region with something of no class."""
        colour = _draw_colour(self.rng, tuple(_FAMILIES))
        offsets = textures.grain(self.rng, self.height, self.width)
        self._cover(mask, colour + offsets[..., None], UNLABELLED, owner=0)

    def paste(self, name: str, picture: Picture, left: int, top: int) -> None:
        """Put a countable object in front of everything so far; what lies outside the image is cut off."""
        pixels, mask = picture
        y, x = np.nonzero(mask)
        inside = (y + top >= 0) & (y + top < self.height) & (x + left >= 0) & (x + left < self.width)
        y, x = y[inside], x[inside]
        self.drawn.append(CLASSES.index(name))
        self.pixels[y + top, x + left] = pixels[y, x]
        self.label[y + top, x + left] = self.drawn[-1]
        self.owner[y + top, x + left] = len(self.drawn)

    def _cover(self, mask: Mask, pixels: npt.NDArray[np.int32], label: int, owner: int) -> None:
        self.pixels[mask] = pixels[mask]
        self.label[mask] = label
        self.owner[mask] = owner

    def rectangle(self, left: int, top: int, right: int, bottom: int) -> Mask:
        """(H, W) bool; right and bottom exclusive."""
        y, x = np.ogrid[: self.height, : self.width]
        return (y >= top) & (y < bottom) & (x >= left) & (x < right)

    def blob(self, centre_x: int, centre_y: int, radius_x: int, radius_y: int) -> Mask:
        """(H, W) bool: an ellipse with a ragged outline."""
        y, x = np.ogrid[: self.height, : self.width]
        distance = (x - centre_x) ** 2 * 256 // radius_x**2 + (y - centre_y) ** 2 * 256 // radius_y**2
        return distance + textures.smooth_noise(self.rng, self.height, self.width, 6, 6) // 2 < 300


def _draw_colour(rng: np.random.Generator, families: tuple[str, ...]) -> npt.NDArray[np.int32]:
    channels = _FAMILIES[families[int(rng.integers(len(families)))]]
    return np.array([rng.integers(low, high) for low, high in channels], np.int32)


def _paint_sky_and_ground(canvas: _Canvas, horizon: int) -> None:
    """Sky, sometimes mountains, and two or three kinds of ground below the horizon."""
    rng, height, width = canvas.rng, canvas.height, canvas.width
    y, x = np.ogrid[:height, :width]
    canvas.fill("sky", np.ones((height, width), np.bool_))
    if rng.integers(3):
        steepness = int(rng.integers(20, 70))  # percent
        skyline = np.full((1, width), height)
        for _ in range(int(rng.integers(1, 4))):
            peak_x, peak_y = int(rng.integers(width)), horizon * int(rng.integers(15, 75)) // 100
            skyline = np.minimum(skyline, peak_y + np.abs(x - peak_x) * steepness // 100)
        canvas.fill("mountain", y >= skyline)

    first, second, third = (("grass", "road", "water")[index] for index in rng.permutation(3))
    canvas.fill(first, np.broadcast_to(y >= horizon, (height, width)))
    # The second kind lies on one side of a slanting line, the third in a band that is cut by a ragged edge.
    slant, start = int(rng.integers(-120, 121)), width * int(rng.integers(30, 71)) // 100
    canvas.fill(second, (y >= horizon) & (x - start > (y - horizon) * slant // 100))
    if rng.integers(2):
        edge = textures.smooth_noise(rng, 1, width, 1, 12) // 32
        top = horizon + (height - horizon) * int(rng.integers(10, 70)) // 100
        thickness = (height - horizon) * int(rng.integers(25, 50)) // 100
        canvas.fill(third, (y >= top + edge) & (y < top + edge + thickness))


def _place_objects(canvas: _Canvas, horizon: int) -> None:
    """Buildings, walls, trees, countable objects and something of no class, from the farthest to the nearest."""
    rng, height = canvas.rng, canvas.height
    for _ in range(int(rng.integers(0, 4))):
        _place_building(canvas, horizon)
    kinds = ["wall"] * int(rng.integers(1, 3)) + ["tree"] * int(rng.integers(1, 4))
    things = tuple(_THINGS)
    count = int(rng.integers(6, 12))
    kinds += [things[index] for index in [*rng.permutation(len(things)), *rng.permutation(len(things))][:count]]
    kinds += [""] * int(rng.integers(0, 2))
    ground = height - horizon
    depths = [int(rng.integers(2, 40 if kind in _STUFF else 100)) for kind in kinds]
    for depth, kind in sorted(zip(depths, kinds, strict=True), key=lambda item: item[0]):
        foot = horizon + ground * depth // 100
        # A person is 9 to 40 percent of the image's height, growing towards the viewer, give or take a third.
        unit = max(9, height * (9 + 31 * depth // 100) * int(rng.integers(67, 134)) // 10_000)
        if kind == "wall":
            _place_wall(canvas, foot, unit)
        elif kind == "tree":
            _place_tree(canvas, foot, unit)
        elif kind == "":
            centre_x = int(rng.integers(canvas.width))
            canvas.fill_unlabelled(canvas.blob(centre_x, foot, unit * 2 // 3, unit // 2))
        else:
            _place_thing(canvas, kind, foot, unit)


def _place_building(canvas: _Canvas, horizon: int) -> None:
    rng, width = canvas.rng, canvas.width
    left, extent = int(rng.integers(-width // 8, width)), width * int(rng.integers(12, 34)) // 100
    top = horizon * int(rng.integers(5, 60)) // 100
    canvas.fill("building", canvas.rectangle(left, top, left + extent, horizon + int(rng.integers(1, 8))))


def _place_wall(canvas: _Canvas, foot: int, unit: int) -> None:
    rng, width = canvas.rng, canvas.width
    left, extent = int(rng.integers(-width // 4, width * 3 // 4)), width * int(rng.integers(25, 70)) // 100
    canvas.fill("wall", canvas.rectangle(left, foot - unit * 3 // 2, left + extent, foot))


def _place_tree(canvas: _Canvas, foot: int, unit: int) -> None:
    rng = canvas.rng
    centre, trunk = int(rng.integers(canvas.width)), max(1, unit // 8)
    crown = canvas.blob(centre, foot - unit * 2, unit, unit * int(rng.integers(80, 150)) // 100)
    canvas.fill("tree", crown | canvas.rectangle(centre - trunk, foot - unit * 2, centre + trunk, foot))


def _place_thing(canvas: _Canvas, name: str, foot: int, unit: int) -> None:
    rng = canvas.rng
    shape, height_percent, width_percent = _THINGS[name]
    height, width = max(8, unit * height_percent // 100), max(6, unit * width_percent // 100)
    first, second = (_THING_COLOURS[index] for index in rng.permutation(len(_THING_COLOURS))[:2])
    pixels, mask = shape(height, width, first, second)
    if rng.integers(2):
        pixels, mask = pixels[:, ::-1], mask[:, ::-1]
    # A ball or a clock may also hang in the air.
    lift = int(rng.integers(0, unit)) if name in ("ball", "clock") else 0
    canvas.paste(name, (pixels, mask), int(rng.integers(-width // 3, canvas.width - width // 2)), foot - height - lift)


def _visible_instances(canvas: _Canvas) -> list[Instance]:
    """What is seen of each object, the farthest first; slivers become unlabelled."""
    instances = []
    for number, class_index in enumerate(canvas.drawn, start=1):
        mask = (canvas.owner == number) & (canvas.label != UNLABELLED)
        if np.count_nonzero(mask) < _MIN_VISIBLE_PIXELS:
            canvas.label[mask] = UNLABELLED
            continue
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
        instances.append(Instance(class_index, mask, box))
    return instances


def _photograph(rng: np.random.Generator, pixels: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
    """Light of a random strength, tint and direction, then sensor noise: (H, W, 3) int32 -> uint8."""
    height, width = pixels.shape[:2]
    y, x = np.ogrid[:height, :width]
    gain = rng.integers(150, 320) * (100 + rng.integers(-10, 11, 3)) // 100  # in 1/256, by channel
    slope_y, slope_x = rng.integers(-60, 61, 2)
    shade = 256 + slope_y * (2 * y - height) // height + slope_x * (2 * x - width) // width  # (H, W), in 1/256
    lit = pixels * shade[..., None] * gain // 65_536
    noise = rng.integers(-5, 6, pixels.shape) + rng.integers(-5, 6, pixels.shape)
    return np.clip(lit + noise, 0, 255).astype(np.uint8)

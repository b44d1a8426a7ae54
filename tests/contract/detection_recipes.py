"""The detection recipes in configs/, and what they say, for the tests that hold them against published tables."""

import itertools
from functools import cache
from typing import Any

from densebench.recipe import CONFIG_FOLDER, Recipe, RunOptions, read_description, resolve

NAMES = sorted(path.stem for path in CONFIG_FOLDER.glob("*_coco*.py"))
EPOCHS = {"1x": 12, "20e": 20, "2x": 24, "3x": 36, "3x_sgd": 36}


@cache
def description_of(name: str) -> dict[str, Any]:
    """The recipe as its file states it."""
    return read_description(CONFIG_FOLDER / f"{name}.py")


@cache
def recipe_of(name: str) -> Recipe:
    """The resolved recipe, which costs some tenths of a second."""
    return resolve(RunOptions(name), with_data=False)


def header_of(name: str) -> str:
    return (CONFIG_FOLDER / f"{name}.py").read_text().split('"""')[1]


def scales_of(description: dict[str, Any]) -> str:
    """The training sizes in the words of the table."""
    if description.get("jitter_size"):
        (height, width), (low, high) = description["jitter_size"], description["jitter_range"]
        return f"{width}x{height} large-scale jitter, scale {low}-{high}"
    long = description["train_long_side"]
    if description.get("train_short_range"):
        low, high = description["train_short_range"]
        return f"{low}-{high}x{long}"
    sides, crop = description["train_short_sides"], description["crop_size"]
    if not crop:
        return f"{'/'.join(map(str, sides))}x{long}"
    assert {after - before for before, after in itertools.pairwise(sides)} == {32}
    return (
        f"{sides[0]}-{sides[-1]}x{long} ({len(sides)} short sides; 50% resize "
        f"{'/'.join(map(str, description['crop_short_sides']))} + crop {crop[0]}x{crop[1]} + resize)"
    )

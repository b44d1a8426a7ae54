"""The configs train: those of all methods but Cascade Mask R-CNN."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from walk import LARGE, trains_on_the_miniature, walked

from densebench.cost.count import build_for_counting, params_m
from densebench.recipe import RunOptions, resolve

MAX_PARAMS_M = 150


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in walked() if not name.startswith("cascade")])
def test_a_config_trains_on_the_miniature(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    trains_on_the_miniature(name, tmp_path, record_property)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_only_large_models_are_left_out(name: str) -> None:
    recipe = resolve(RunOptions(name, pretrained="none"), with_data=False)
    assert params_m(build_for_counting(recipe.config.model)) > MAX_PARAMS_M

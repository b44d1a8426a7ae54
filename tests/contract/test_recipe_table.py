"""docs/recipes.md lists every config once, with figures that stand in the config's header."""

import re
from pathlib import Path

import pytest

from backbones import backbone_name
from densebench.description import find_config, read_description
from densebench.recipe import CONFIG_FOLDER
from densebench.results.published import published_results

TABLE = CONFIG_FOLDER.parent / "docs" / "recipes.md"


def listed() -> list[tuple[str, list[str]]]:
    """The name of each row, and its other cells."""
    rows = [line.strip("| ").split(" | ") for line in TABLE.read_text().splitlines() if line.startswith("| `")]
    return [(cells[0].strip("`"), cells[1:]) for cells in rows]


def header_of(path: Path) -> str:
    return path.read_text().split('"""')[1]


def test_every_config_is_listed_once() -> None:
    paths = (path.relative_to(CONFIG_FOLDER) for path in CONFIG_FOLDER.rglob("*.py"))
    configs = sorted(str(path.with_suffix("")) for path in paths if path.parts[0] != "_base_")
    assert sorted(name for name, _ in listed()) == configs


@pytest.mark.parametrize(("name", "cells"), [row for row in listed() if len(row[1]) > 2 and "." in row[1][2]])
def test_published_rows_stand_beside_the_recipe(name: str, cells: list[str]) -> None:
    """On the leaderboard a run of the recipe and its published row go by one name."""
    recipe = read_description(find_config(name))
    row = (backbone_name(recipe["model"]["backbone"]), recipe["method"], recipe["dataset"], cells[0])
    known = {(result.backbone, result.method, result.dataset, result.pretrain) for result in published_results()}
    assert row in known


def test_every_figure_stands_in_the_header() -> None:
    for name, cells in listed():
        header = header_of(CONFIG_FOLDER / f"{name}.py")
        figures = [cell for cell in cells if re.fullmatch(r"\d+(\.\d+)?", cell)]
        lacking = [figure for figure in figures if not re.search(rf"(?<![\d.]){re.escape(figure)}(?![\d.]*\d)", header)]
        assert not lacking, (name, lacking)

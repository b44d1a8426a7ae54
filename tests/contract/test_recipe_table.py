"""docs/recipes.md lists every config once, with figures that stand in the config's header."""

import re
from pathlib import Path

from densebench.recipe import CONFIG_FOLDER

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


def test_every_figure_stands_in_the_header() -> None:
    for name, cells in listed():
        header = header_of(CONFIG_FOLDER / f"{name}.py")
        figures = [cell for cell in cells if re.fullmatch(r"\d+(\.\d+)?", cell)]
        lacking = [figure for figure in figures if not re.search(rf"(?<![\d.]){re.escape(figure)}(?![\d.]*\d)", header)]
        assert not lacking, (name, lacking)

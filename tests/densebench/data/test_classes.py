from itertools import pairwise
from pathlib import Path

import pytest

from densebench.data.classes import make_palette, read_classes
from densebench.errors import DensebenchError


def write(root: Path, text: str) -> Path:
    (root / "classes.txt").write_text(text, encoding="utf-8")
    return root


def test_names_in_order_and_default_ignore_value(tmp_path: Path):
    assert read_classes(write(tmp_path, "sky\nroad\n")) == (("sky", "road"), 255)


def test_comments_blank_lines_and_ignore(tmp_path: Path):
    text = "\ufeff# my classes\r\n\r\n  traffic light \r\nArbre été\r\nignored area\r\nignore 11\r\n"
    assert read_classes(write(tmp_path, text)) == (("traffic light", "Arbre été", "ignored area"), 11)


def test_ignore_value_just_behind_the_classes(tmp_path: Path):
    names = [f"class {index}" for index in range(11)]
    assert read_classes(write(tmp_path, "\n".join([*names, "ignore 11"]))) == (tuple(names), 11)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no class"),
        ("# nothing\nignore 255\n", "names no class"),
        ("sky\nignore 1\n", "names one class, sky; at least 2 are needed"),
        ("sky\nroad\nsky\nroad\ntree\n", "names a class more than once: road, sky"),
        ("sky\nignore\n", "line 2: expected `ignore N` with N of 0..255, found 'ignore'"),
        ("sky\nignore 256\n", "found 'ignore 256'"),
        ("sky\nignore -1\n", "found 'ignore -1'"),
        ("sky\nignore road\n", "found 'ignore road'"),
        ("sky\nroad\nignore 7\nignore 8\n", "2 lines `ignore N`"),
        ("sky\nroad\nignore 1\n", r"ignore value 1 is also the index of the class 'road' .*0\.\.1"),
        ("\n".join(map(str, range(256))), "names 256 classes"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str):
    with pytest.raises(DensebenchError, match=message) as error:
        read_classes(write(tmp_path, text))
    assert str(tmp_path / "classes.txt") in str(error.value)


def test_missing_file(tmp_path: Path):
    with pytest.raises(DensebenchError, match=r"classes.txt does not exist\n.*one class name a line"):
        read_classes(tmp_path)


def test_file_that_is_no_text(tmp_path: Path):
    (tmp_path / "classes.txt").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DensebenchError, match="cannot be read as UTF-8 text"):
        read_classes(tmp_path)


def test_palette_is_fixed_and_its_colours_differ():
    palette = make_palette(150)
    assert palette == make_palette(255)[:150]
    assert len({tuple(colour) for colour in palette}) == 150
    assert all(0 <= value <= 255 for colour in palette for value in colour)
    distances = [sum(abs(a - b) for a, b in zip(*pair, strict=True)) for pair in pairwise(palette)]
    assert min(distances) > 100

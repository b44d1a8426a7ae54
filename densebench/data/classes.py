"""Class names, ignore value and colours of a data set in the plain folder layout, from its classes.txt."""

from __future__ import annotations

import colorsys
from pathlib import Path

from densebench.errors import DensebenchError

CLASSES_FILE = "classes.txt"
DEFAULT_IGNORE_VALUE = 255

_FORMAT = (
    f"{CLASSES_FILE} holds one class name a line, the first for label value 0, and optionally a line "
    f"`ignore N`, the label value of unlabelled pixels ({DEFAULT_IGNORE_VALUE} where there is none); "
    "blank lines and lines that start with # are skipped"
)


def read_classes(root: Path) -> tuple[tuple[str, ...], int]:
    """Class names in the order of their indices, and the label value of unlabelled pixels.

    Raises DensebenchError where the file is missing or unreadable, holds fewer than two classes or one twice, or
    where the ignore value is not 0..255 or is the index of a class.
    """
    path = root / CLASSES_FILE
    names: list[str] = []
    ignore_values: list[int] = []
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if text.split()[0] == "ignore":
            ignore_values.append(_parse_ignore(text, f"{path}, line {number}"))
        else:
            names.append(text)
    _check_names(names, path)
    if len(ignore_values) > 1:
        raise DensebenchError(f"{path} has {len(ignore_values)} lines `ignore N`; leave one\n{_FORMAT}")
    ignore_value = ignore_values[0] if ignore_values else DEFAULT_IGNORE_VALUE
    if ignore_value < len(names):
        raise DensebenchError(
            f"{path}: the ignore value {ignore_value} is also the index of the class {names[ignore_value]!r} "
            f"(the {len(names)} classes have the indices 0..{len(names) - 1})\n"
            f"give unlabelled pixels a value of {len(names)}..255 in the label files and name it here"
        )
    return tuple(names), ignore_value


def make_palette(num_classes: int) -> list[list[int]]:
    """One RGB colour of 0..255 per class, always the same; neighbouring indices differ in hue and in brightness."""
    palette = []
    for index in range(num_classes):
        hue = index * 0.618034 % 1.0  # golden ratio: the hues of any first n classes are spread evenly
        red, green, blue = colorsys.hsv_to_rgb(hue, (0.85, 0.55, 0.7)[index % 3], (0.95, 0.8, 0.6)[index % 3])
        palette.append([round(255 * red), round(255 * green), round(255 * blue)])
    return palette


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DensebenchError(f"{path} does not exist\n{_FORMAT}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DensebenchError(f"{path} cannot be read as UTF-8 text: {error}\n{_FORMAT}") from error


def _parse_ignore(text: str, where: str) -> int:
    value = text.removeprefix("ignore").strip()
    if not (value.isascii() and value.isdigit() and int(value) <= 255):
        raise DensebenchError(f"{where}: expected `ignore N` with N of 0..255, found {text!r}\n{_FORMAT}")
    return int(value)


def _check_names(names: list[str], path: Path) -> None:
    if not names:
        raise DensebenchError(f"{path} names no class\n{_FORMAT}")
    if len(names) == 1:
        raise DensebenchError(
            f"{path} names one class, {names[0]}; at least 2 are needed: with one, every pixel is right\n"
            f"name what is not {names[0]} as a class of its own, with its label value, instead of ignoring it"
        )
    if len(names) > 255:
        raise DensebenchError(f"{path} names {len(names)} classes; labels of 8 bits hold at most 255 and unlabelled")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DensebenchError(f"{path} names a class more than once: {', '.join(repeated)}\n{_FORMAT}")

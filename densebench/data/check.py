"""What must be on the disk before a run starts: one clear error now instead of a crash in a data loader later."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from densebench.data.classes import read_classes
from densebench.data.layouts import Layout, get_layout
from densebench.errors import DensebenchError

_SHOWN_NAMES = 5


@dataclass(frozen=True)
class Split:
    """The files of one split, sorted by name: `labels[i]` belongs to `images[i]`."""

    images: tuple[Path, ...]
    labels: tuple[Path, ...]


def require_split(layout_name: str, root: Path, split: str) -> Split:
    """The images and labels of a split ("train" or "val"), all present and paired; file contents are not read.

    Raises DensebenchError where the layout or the split is unknown, where the root or one of the folders is missing
    or unreadable, where there is no image, and where images and labels do not pair. One listing per folder: 20,000
    files take a fraction of a second.
    """
    layout = get_layout(layout_name)
    if split not in layout.image_folders:
        valid = ", ".join(layout.image_folders)
        raise DensebenchError(f"unknown split {split!r} of the layout {layout.name}; valid: {valid}")
    image_folder, label_folder = root / layout.image_folders[split], root / layout.label_folders[split]
    for folder in (root, image_folder, label_folder):
        if not folder.is_dir():
            raise DensebenchError(_missing_text(layout, root, folder))
    if layout.name == "folder":
        read_classes(root)
    images = _list_by_stem(image_folder, layout.image_suffixes, layout.sub_folders)
    labels = _list_by_stem(label_folder, (layout.label_suffix,), layout.sub_folders)
    _check_pairs(images, labels, image_folder, label_folder)
    stems = sorted(images)
    return Split(tuple(images[stem] for stem in stems), tuple(labels[stem] for stem in stems))


def _missing_text(layout: Layout, root: Path, missing: Path) -> str:
    return "\n".join(
        (
            f"no {layout.name} data: the folder {missing} does not exist",
            f"expected under the data root {root.absolute()}:",
            textwrap.indent(layout.tree, "  "),
            "to get it:",
            textwrap.indent(layout.how_to_get, "  "),
            "--data-root D points to another place; --mini runs without it, on a generated miniature",
        )
    )


def list_names(folder: Path, sub_folders: bool = False) -> list[str]:
    """The names of a folder without the hidden ones, sorted; with `sub_folders` those one level below, `CITY/NAME`.

    Raises DensebenchError where a folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            visible = [(entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DensebenchError(f"the folder {folder} cannot be listed: {error}") from error
    if not sub_folders:
        return sorted(name for name, _ in visible)
    cities = [name for name, is_folder in visible if is_folder]
    return sorted(f"{city}/{name}" for city in cities for name in list_names(folder / city))


def _list_by_stem(folder: Path, suffixes: tuple[str, ...], sub_folders: bool) -> dict[str, Path]:
    """File name without suffix -> path. Hidden files and files of other kinds are left out, as mmseg does."""
    found: dict[str, Path] = {}
    others = []
    for name in list_names(folder, sub_folders):
        # Cityscapes' suffixes are taken as they are, as mmseg and the official scripts do.
        suffix = next((end for end in suffixes if (name if sub_folders else name.lower()).endswith(end)), None)
        stem = name[: -len(suffix)] if suffix else ""
        if suffix is None:
            others.append(name)
        elif stem in found:
            raise DensebenchError(f"two files of one name in {folder}: {found[stem].name} and {name}; rename one")
        else:
            found[stem] = folder / name
    if not found:
        instead = f"; found {len(others)} others: {_first(others)}" if others else "; it is empty"
        raise DensebenchError(f"no files ending in {', '.join(suffixes)} in the folder {folder}{instead}")
    return found


def _check_pairs(images: dict[str, Path], labels: dict[str, Path], image_folder: Path, label_folder: Path) -> None:
    problems = []
    without_label = sorted(images.keys() - labels.keys())
    without_image = sorted(labels.keys() - images.keys())
    if without_label:
        names = _first(images[stem].name for stem in without_label)
        problems.append(f"{len(without_label)} of {len(images)} images have no label: {names}")
    if without_image:
        names = _first(labels[stem].name for stem in without_image)
        problems.append(f"{len(without_image)} of {len(labels)} labels have no image: {names}")
    if problems:
        problems.append(f"an image and its label have the same name but for the suffix: {image_folder}, {label_folder}")
        raise DensebenchError("\n".join(problems))


def _first(names: Iterable[str]) -> str:
    listed = list(names)
    rest = len(listed) - _SHOWN_NAMES
    return ", ".join(listed[:_SHOWN_NAMES]) + (f" and {rest} more" if rest > 0 else "")

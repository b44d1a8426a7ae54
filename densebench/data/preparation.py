"""From the official archives to a data root: unpacking that can be stopped and started again, and what follows it."""

from __future__ import annotations

import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from densebench.data import cityscapes
from densebench.data.dataset import split_files
from densebench.data.layouts import OFFICIAL_SIZES
from densebench.errors import DensebenchError
from densebench.whole_files import written_whole

_BLOCK_BYTES = 1 << 20
_ARCHIVE_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class Source:
    """The official archives of a data set; `top_folder` of the names inside is the data root itself."""

    archives: tuple[str, ...]
    data_root: str  # where the recipes look
    top_folder: str = ""


SOURCES = {
    "ade20k": Source(("ADEChallengeData2016.zip",), "data/ade/ADEChallengeData2016", "ADEChallengeData2016/"),
    "cityscapes": Source(("leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip"), "data/cityscapes"),
    "coco": Source(("train2017.zip", "val2017.zip", "annotations_trainval2017.zip"), "data/coco"),
}


@dataclass(frozen=True)
class Member:
    """A file in an archive and where it goes."""

    info: zipfile.ZipInfo
    target: Path

    @property
    def is_there(self) -> bool:
        """Whether it was unpacked before; a file is judged by its size."""
        return self.target.is_file() and self.target.stat().st_size == self.info.file_size


def prepare(dataset: str, archives: Path, root: Path | None, screen: Console) -> Path:
    """Unpack a data set's archives, which lie in the folder `archives`, and return its data root.

    Files that are there already, with their size, are left as they are, so that a run which was stopped goes on.
    Nothing is written before all archives were looked through and found to fit on the disk.

    Raises:
        DensebenchError: an archive is missing, cut off or damaged, or holds names outside its folder; the disk has too
            little room; the root cannot be written; the data set is not whole in the end.
    """
    source = SOURCES[dataset]
    root = Path(source.data_root) if root is None else root
    files = [archives / name for name in source.archives]
    absent = [file.name for file in files if not file.is_file()]
    if absent:
        raise DensebenchError(
            f"{', '.join(absent)} not found in the folder {archives.absolute()}; expected there: "
            f"{', '.join(source.archives)}\nname the folder that the archives of {dataset} were downloaded into"
        )
    try:
        missing = {
            file: [member for member in members(file, root, source.top_folder) if not member.is_there] for file in files
        }
        needed = sum(member.info.file_size for parts in missing.values() for member in parts)
        require_room(root, needed)
        with _progress(screen) as progress:
            for file, parts in missing.items():
                screen.print(f"{file.name}: {len(parts)} files to unpack into {root}", markup=False)
                unpack(file, parts, progress)
    except OSError as error:
        raise DensebenchError(f"{dataset} cannot be unpacked into {root}: {error}") from error
    if dataset == "cityscapes":
        screen.print("making the training labels (labelTrainIds) ...")
        screen.print(f"  {cityscapes.write_missing_train_ids(root)} made")
    for split, expected in OFFICIAL_SIZES[dataset].items():
        found = len(split_files(dataset, root, split))
        images = found - 1 if dataset == "coco" else found // 2
        screen.print(f"{split}: {images} images" + ("" if images == expected else f", but the official are {expected}"))
    return root


def members(archive: Path, root: Path, top_folder: str = "") -> list[Member]:
    """The files of an archive and their places under `root`; `top_folder` (with a slash) is left out of the names.

    Raises:
        DensebenchError: it is no whole archive, or holds a link or a name that leads out of its folder.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            entries = [entry for entry in content.infolist() if not entry.is_dir()]
    except (*_ARCHIVE_ERRORS, OSError) as error:
        raise DensebenchError(_damaged_text(archive, error)) from error
    unsafe = [entry.filename for entry in entries if not _is_safe(entry)]
    if unsafe:
        raise DensebenchError(
            f"{archive} holds {len(unsafe)} links or names that lead out of its folder: {', '.join(unsafe[:5])}\n"
            "nothing was unpacked; the official archive has none: download it again from its official address"
        )
    return [
        Member(entry, root / entry.filename.removeprefix(top_folder))
        for entry in entries
        if not entry.filename.startswith("__MACOSX/")
    ]


def require_room(root: Path, needed_bytes: int) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises:
        DensebenchError: fewer bytes are free where `root` is, or will be.
    """
    there = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if free < needed_bytes:
        raise DensebenchError(
            f"{needed_bytes / 1e9:.1f} GB are to be unpacked into {root}, and {free / 1e9:.1f} GB are free there\n"
            "make room, or name a folder on another disk with --data-root D"
        )


def unpack(archive: Path, parts: Sequence[Member], progress: Progress) -> None:
    """Write members of an archive, each under its name when it is whole and its checksum right.

    Raises:
        DensebenchError: the archive is damaged.
    """
    task = progress.add_task(archive.name, total=sum(member.info.file_size for member in parts))
    try:
        with zipfile.ZipFile(archive) as content:
            for member in parts:
                member.target.parent.mkdir(parents=True, exist_ok=True)
                with (
                    written_whole(member.target) as temporary,
                    content.open(member.info) as packed,
                    temporary.open("wb") as unpacked,
                ):
                    while block := packed.read(_BLOCK_BYTES):
                        unpacked.write(block)
                        progress.advance(task, len(block))
    except _ARCHIVE_ERRORS as error:
        raise DensebenchError(_damaged_text(archive, error)) from error


def _is_safe(entry: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(entry.filename)
    is_link = stat.S_ISLNK(entry.external_attr >> 16)
    leads_out = path.is_absolute() or ".." in path.parts or re.search(r"[\\\x00]|^[A-Za-z]:", entry.orig_filename)
    return not (is_link or leads_out)


def _damaged_text(archive: Path, error: Exception) -> str:
    return (
        f"{archive} ({archive.stat().st_size / 1e6:.1f} MB) is cut off, damaged or no zip archive: {error}\n"
        "download it again; what was unpacked so far is kept"
    )


def _progress(screen: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=screen,
        disable=not screen.is_terminal,
        transient=True,
    )

"""Which files a result was computed on, as one short value for its record."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def fingerprint(files: Iterable[Path], root: Path) -> str:
    """sha256 (64 hex digits) over the names relative to `root` and the sizes in bytes of the files, in sorted order.

    The place of the root, the order of the files and their dates do not matter. Contents are not read, so that
    20,000 files take a fraction of a second: an edit that keeps a file's size is not seen.
    """
    entries = sorted((path.relative_to(root).as_posix(), path.stat().st_size) for path in files)
    digest = hashlib.sha256()
    for name, size_bytes in entries:
        digest.update(f"{name}\0{size_bytes}\n".encode())
    return digest.hexdigest()

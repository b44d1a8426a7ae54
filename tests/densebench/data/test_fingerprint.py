import hashlib
from pathlib import Path

import pytest

from densebench.data.fingerprint import fingerprint


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return write(tmp_path / "data")


def write(root: Path) -> list[Path]:
    paths = [root / "images/a.jpg", root / "images/b.jpg", root / "labels/a.png"]
    for size, path in enumerate(paths, start=3):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    return paths


def test_known_value(files: list[Path], tmp_path: Path):
    text = b"images/a.jpg\x003\nimages/b.jpg\x004\nlabels/a.png\x005\n"
    assert fingerprint(files, tmp_path / "data") == hashlib.sha256(text).hexdigest()


def test_place_and_order_do_not_matter(files: list[Path], tmp_path: Path):
    moved = write(tmp_path / "else/where")
    assert fingerprint(reversed(moved), tmp_path / "else/where") == fingerprint(files, tmp_path / "data")


def test_size_name_and_number_matter(files: list[Path], tmp_path: Path):
    root = tmp_path / "data"
    values = {fingerprint(files, root), fingerprint(files[:2], root)}
    files[0].write_bytes(b"longer than before")
    values.add(fingerprint(files, root))
    renamed = files[0].rename(root / "images/c.jpg")
    values.add(fingerprint([renamed, *files[1:]], root))
    assert len(values) == 4

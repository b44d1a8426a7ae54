"""Starting weights by URL and hash, through file:// URLs."""

from pathlib import Path

import pytest
import torch

from densebench.errors import DensebenchError
from densebench.starting_weights import StartingWeights, fetch, file_sha256


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))


@pytest.fixture
def served(tmp_path: Path) -> Path:
    file = tmp_path / "served" / "convnext.pth"
    file.parent.mkdir()
    torch.save({"model": {"weight": torch.arange(4)}}, file)
    return file


def test_fetched_once_and_checked(served: Path) -> None:
    sha256 = file_sha256(served)
    first = fetch(served.as_uri(), sha256)
    assert first.read_bytes() == served.read_bytes() and sha256[:16] in first.name
    served.unlink()
    assert fetch(served.as_uri(), sha256) == first  # from the cache


def test_leading_digits_of_a_hash_do(served: Path) -> None:
    assert fetch(served.as_uri(), file_sha256(served)[:8]).is_file()


def test_without_a_hash_the_url_tells_files_apart(served: Path, tmp_path: Path) -> None:
    twin = tmp_path / "elsewhere" / served.name
    twin.parent.mkdir()
    twin.write_bytes(b"other weights")
    first, second = fetch(served.as_uri(), None), fetch(twin.as_uri(), None)
    assert first != second and second.read_bytes() == b"other weights"
    assert fetch(served.as_uri(), None) == first


def test_a_web_page_is_no_weights(served: Path, tmp_path: Path) -> None:
    served.write_text("\n<!DOCTYPE html><title>Download anyway?</title>")
    with pytest.raises(DensebenchError, match=r"leads to a web page.*--pretrained FILE"):
        fetch(served.as_uri(), None)
    assert not list((tmp_path / "cache").rglob("*.pth"))


def test_another_hash_is_refused_and_leaves_nothing(served: Path, tmp_path: Path) -> None:
    with pytest.raises(DensebenchError, match="another hash than the recipe expects"):
        fetch(served.as_uri(), "0" * 64)
    assert not list((tmp_path / "cache").rglob("*.pth"))


def test_a_damaged_cache_is_told(served: Path) -> None:
    sha256 = file_sha256(served)
    fetch(served.as_uri(), sha256).write_bytes(b"damaged")
    with pytest.raises(DensebenchError, match="does not have the hash"):
        fetch(served.as_uri(), sha256)


def test_out_of_reach_names_the_url_and_the_ways_out(tmp_path: Path) -> None:
    url = (tmp_path / "nowhere.pth").as_uri()
    with pytest.raises(DensebenchError, match=r"--pretrained FILE.*--pretrained none.*--mini") as error:
        StartingWeights(name="in1k", url=url, sha256="00").local_file()
    assert url in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DensebenchError, match="no such file"):
        StartingWeights(name="file:x", file=tmp_path / "x.pth").local_file()
    assert StartingWeights(name="none").local_file() is None

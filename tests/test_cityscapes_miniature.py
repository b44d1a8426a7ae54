"""The Cityscapes recipes as they are, full-size models and heads, on a miniature, through the tools."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from densebench.data import mini
from densebench.data.cityscapes import label_id_of_train_id
from densebench.results.records import read_records
from tests.running import run_tool


@pytest.fixture
def data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two images to test on: with windows at twelve views, the 24 of the miniature take minutes."""
    monkeypatch.setattr(mini, "NUM_IMAGES", {"train": 4, "val": 2})
    return mini.make("cityscapes", tmp_path)


def tool(name: str, *arguments: object) -> None:
    result = run_tool(name, *arguments)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_deeplab_trains_and_tests_at_both_protocols(tmp_path: Path, data_root: Path) -> None:
    name = "deeplabv3plus_mobilenetv2_k3_cityscapes"
    options = [name, "--mini", "--data-root", data_root, "--work-dir", tmp_path]
    tool("train", *options, "--mini-iters", 2)
    tool("test", *options, "--out", tmp_path / "labels", "--show-dir", tmp_path / "shown")
    tool("test", *options, "--aug-test")
    records, problems = read_records([tmp_path])
    assert not problems and {record.kind for record in records} == {"test-ss", "test-ms"}
    assert all(record.dataset == "cityscapes" and record.metrics["mIoU"] >= 0 for record in records)
    files = sorted((tmp_path / "labels").iterdir())
    assert len(files) == len(list((tmp_path / "shown").iterdir())) == 2
    assert files[0].name == "firsttown_000000_000019_leftImg8bit.png"
    values = set().union(*(np.unique(Image.open(file)).tolist() for file in files))
    assert values <= set(label_id_of_train_id().tolist())


@pytest.mark.slow
def test_upernet_trains_and_tests(tmp_path: Path, data_root: Path) -> None:
    options = ["upernet_replknet_31b_cityscapes", "--mini", "--data-root", data_root, "--work-dir", tmp_path]
    tool("train", *options, "--mini-iters", 1)
    tool("test", *options)
    records, problems = read_records([tmp_path])
    assert not problems and [record.kind for record in records] == ["test-ss"]

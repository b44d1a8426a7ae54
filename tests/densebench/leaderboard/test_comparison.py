"""The comparison of two experiments, as the console tells it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from densebench.errors import DensebenchError
from densebench.leaderboard.comparison import comparison_text


def test_a_real_difference_with_its_classes(tested: Any, tmp_path: Path) -> None:
    tested("a", 0.52)
    tested("b", 0.50, seed=1)
    text = comparison_text([tmp_path], "a", "b")
    assert "the difference is real" in text
    assert "p = 0.002" in text
    assert all(name in text for name in ("wall", "tree", "lamp"))
    assert "not trained and tested alike" not in text


def test_chance(tested: Any, tmp_path: Path) -> None:
    tested("a", 0.50)
    tested("b", 0.50, seed=1, schedule="80k")
    text = comparison_text([tmp_path], "a", "b")
    assert "tied: chance explains the difference" in text
    assert "not trained and tested alike: schedule 160k, not 80k" in text


def test_what_is_not_there(tested: Any, save: Any, tmp_path: Path) -> None:
    tested("convnext", 0.5)
    save(experiment="swin")
    with pytest.raises(DensebenchError, match="No measured experiment 'convnex'; there are: convnext"):
        comparison_text([tmp_path], "convnex", "swin")
    with pytest.raises(DensebenchError, match="no test in common whose record holds per-image parts"):
        comparison_text([tmp_path], "convnext", "swin")


def test_other_images(tested: Any, tmp_path: Path) -> None:
    tested("a", 0.5)
    tested("b", 0.5, provenance={"dataset_fingerprint": "other"})
    with pytest.raises(DensebenchError, match="not tested on the same images"):
        comparison_text([tmp_path], "a", "b")


def test_an_experiment_beside_its_test_in_low_precision(tested: Any, tmp_path: Path) -> None:
    tested("a", 0.52, cost={"dtype": "float32"})
    tested("a", 0.52, seed=1, cost={"dtype": "bfloat16"})
    text = comparison_text([tmp_path], "a (bfloat16)", "a")
    assert "not trained and tested alike: test precision bfloat16, not float32" in text

"""Intervals, ranks and verdicts from records with per-image parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from densebench.errors import DensebenchError
from densebench.leaderboard.assessment import reproduction, standings, with_intervals
from densebench.leaderboard.bootstrap import class_ious, mean
from densebench.leaderboard.entries import Entry, measured_entries, published_entry
from densebench.leaderboard.uncertainty import compare
from densebench.results.published import published_results
from densebench.results.records import read_records


@pytest.fixture
def entries(tmp_path: Path) -> Any:
    def entries() -> dict[str, Entry]:
        assessed, problems = with_intervals(measured_entries(read_records([tmp_path / "work_dirs"])[0]))
        assert not problems
        return {str(entry.experiment): entry for entry in assessed}

    return entries


def test_intervals_hold_the_measured_value(tested: Any, entries: Any) -> None:
    tested("a", 0.5)
    (entry,) = entries().values()
    found = entry.intervals["miou_ss"]
    assert found.value == pytest.approx(entry.figures["miou_ss"].value, abs=1e-9)
    assert 0.5 < found.value - found.low < 2
    assert 0.5 < found.high - found.value < 2


def test_rows_that_chance_explains_are_tied(tested: Any, entries: Any) -> None:
    tested("best", 0.52)
    tested("second", 0.50, seed=1)
    tested("twin of second", 0.50, seed=2)
    tested("last", 0.45, seed=3)
    found = standings(list(entries().values()), "miou_ss")
    assert {name: standing.rank for name, standing in found.items()} == {
        "best": 1,
        "second": 2,
        "twin of second": 2,
        "last": 4,
    }
    assert found["second"].tied_with == ("twin of second",)
    assert found["best"].tied_with == ()


def test_a_comparison_names_the_classes_that_make_the_difference(tested: Any, entries: Any, tmp_path: Path) -> None:
    tested("a", 0.5)
    path = tested("b", 0.5)
    archive = path.with_suffix(".npz")
    parts = dict(np.load(archive))
    parts["intersections"][:, 1] -= 50
    np.savez(archive, **parts)
    miou = float(mean(class_ious(np.ones((1, len(parts["unions"]))), parts["intersections"], parts["unions"]))[0])
    path.write_text(path.read_text().replace(f'"mIoU": {_recorded(path)}', f'"mIoU": {miou}'))
    first, second = (entries()[name].tests("test-ss") for name in "ab")
    found = compare(first, second, "mIoU")
    assert found is not None
    assert found.difference.is_real
    assert found.difference.value == pytest.approx(100 * 50 / 1000 / 3, rel=0.1)
    assert found.parts[0].name == "tree"
    assert [part.difference.value for part in found.parts[1:]] == [0.0, 0.0]


def test_seeds_are_averaged_on_the_same_images(tested: Any, entries: Any) -> None:
    for seed, level in ((0, 0.50), (1, 0.52)):
        tested(f"a_seed{seed}", level, seed, provenance={"seed": seed})
    (entry,) = entries().values()
    assert entry.intervals["miou_ss"].value == pytest.approx(entry.figures["miou_ss"].value, abs=1e-9)
    assert entry.spreads["miou_ss"].num_seeds == 2


def test_other_images_cannot_be_compared(tested: Any, entries: Any) -> None:
    tested("a", 0.5)
    tested("b", 0.5, provenance={"dataset_fingerprint": "0123456789"})
    found = entries()
    with pytest.raises(DensebenchError, match="not tested on the same images"):
        compare(found["a"].tests("test-ss"), found["b"].tests("test-ss"), "mIoU")
    assert standings(list(found.values()), "miou_ss")["a"].tied_with == ("b",)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({}, "expected images and classes, found nothing"),
        ({"images": np.array(["a"]), "classes": np.array(["b"])}, "neither pixels of classes nor matches"),
        (
            {
                "images": np.array(["a"]),
                "classes": np.array(["b", "c"]),
                "intersections": np.ones((1, 1), int),
                "unions": np.ones((1, 1), int),
            },
            "expected pixels of 1 images and 2 classes",
        ),
        (
            {
                "images": np.array(["a"]),
                "classes": np.array(["b"]),
                "intersections": np.ones((1, 1), int),
                "unions": np.full((1, 1), 4),
            },
            "not of the same test",
        ),
    ],
)
def test_foreign_parts_are_listed_and_left_out(save: Any, tmp_path: Path, parts: dict[str, Any], reason: str) -> None:
    save(parts=parts)
    (entry,), (problem,) = with_intervals(measured_entries(read_records([tmp_path / "work_dirs"])[0]))
    assert not entry.intervals
    assert reason in problem.reason
    assert problem.path.endswith(".npz")


@pytest.mark.parametrize(("level", "verdict"), [(0.46, "reproduced"), (0.40, "below"), (0.60, "above")])
def test_measured_against_published(tested: Any, entries: Any, level: float, verdict: str) -> None:
    tested("upernet_convnext_t_ade20k", level)
    published = [published_entry(result) for result in published_results()]
    (entry,) = entries().values()
    found = reproduction(entry, "miou_ss", published)
    assert found is not None
    assert (found.published, found.verdict) == (46.0, verdict)
    assert found.gap == pytest.approx(entry.figures["miou_ss"].value - 46.0)
    assert found.source.startswith("ConvNeXt paper")
    assert reproduction(entry, "miou_ms", published) is None


def test_another_recipe_is_not_reproduced(tested: Any, entries: Any) -> None:
    tested("a", 0.46, schedule="80k")
    (entry,) = entries().values()
    assert reproduction(entry, "miou_ss", [published_entry(result) for result in published_results()]) is None


def _recorded(path: Path) -> str:
    return repr(json.loads(path.read_text())["metrics"]["mIoU"])

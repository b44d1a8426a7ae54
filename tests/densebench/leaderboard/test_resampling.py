"""From the per-image parts of a detection record to AP on resamples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from densebench.data import mini
from densebench.data.coco import annotation_file, read_annotations
from densebench.leaderboard.resampling import resampled
from tests.densebench.fabricated_detections import CLASSES, evaluated, fabricated


@pytest.fixture(scope="module")
def test_of_detections(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], dict[str, float]]:
    """The npz, its arrays, and the metrics of an evaluation with many equal scores."""
    file = annotation_file(mini.make("coco"), "val")
    metric, metrics = evaluated(file, fabricated(read_annotations(file), seed=0)[::-1])
    path = tmp_path_factory.mktemp("record") / "parts.npz"
    arrays = {key: np.asarray(value) for key, value in metric.per_image.items()} | {"classes": np.array(CLASSES)}
    np.savez(path, **arrays)
    return path, arrays, metrics


def test_row_0_is_the_test_itself(test_of_detections: Any) -> None:
    path, _, metrics = test_of_detections
    found = resampled(path, 3)
    for name, values in found.figures.items():
        assert values.shape == (4,)
        assert values[0] == pytest.approx(metrics[name], abs=1e-9, nan_ok=True)
    assert set(found.figures) == {
        f"{kind}_AP{suffix}" for kind in ("bbox", "segm") for suffix in ("", "50", "75", "s", "m", "l")
    }


def test_classes_average_to_the_whole(test_of_detections: Any) -> None:
    found = resampled(test_of_detections[0], 3)
    for kind in ("bbox_AP", "segm_AP"):
        assert np.nanmean(list(found.parts[kind].values()), axis=0) == pytest.approx(found.figures[kind])


def test_the_order_of_testing_does_not_matter(test_of_detections: Any, tmp_path: Path) -> None:
    path, arrays, _ = test_of_detections
    file = annotation_file(mini.make("coco"), "val")
    metric, _ = evaluated(file, fabricated(read_annotations(file), seed=0))
    other = tmp_path / "other.npz"
    np.savez(other, **metric.per_image, classes=arrays["classes"])
    one, two = resampled(path, 20), resampled(other, 20)
    assert one.images == two.images
    for name, values in one.figures.items():
        np.testing.assert_allclose(values, two.figures[name], rtol=0, atol=1e-10)


@pytest.mark.parametrize("missing", ["bbox_matched", "truth_counts", "scores"])
def test_missing_arrays_are_said(test_of_detections: Any, tmp_path: Path, missing: str) -> None:
    _, arrays, _ = test_of_detections
    path = tmp_path / f"{missing}.npz"
    np.savez(path, **{key: value for key, value in arrays.items() if key != missing})
    if missing == "bbox_matched":  # a segmentation of instances without boxes' matches
        assert "bbox_AP" not in resampled(path, 2).figures
    else:
        with pytest.raises(ValueError, match="arrays are missing"):
            resampled(path, 2)

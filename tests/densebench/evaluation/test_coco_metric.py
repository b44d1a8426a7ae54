"""COCO's average precision, equal to pycocotools in all 24 numbers."""

import contextlib
import copy
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from densebench.data import mini
from densebench.data.coco import CATEGORIES, annotation_file, read_annotations
from densebench.errors import DensebenchError
from densebench.evaluation.coco_metric import NUMBERS, ExactCoco, boxes_of, masks_of

CLASSES = tuple(CATEGORIES.values())
IDS = tuple(CATEGORIES)


@pytest.fixture(scope="module")
def file() -> Path:
    return annotation_file(mini.make("coco"), "val")


def fabricated(truth: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    """Samples as a detector gives them: most objects, displaced, some twice, some of another class."""
    rng = np.random.default_rng(seed)
    samples = []
    for image in truth["images"]:
        boxes, masks, labels = [], [], []
        for entry in (entry for entry in truth["annotations"] if entry["image_id"] == image["id"]):
            for _ in range(rng.integers(0, 3)):
                left, top, width, height = entry["bbox"]
                dx, dy = (round(float(shift)) for shift in rng.normal(0, 0.06, 2) * (width, height))
                boxes.append([left + dx, top + dy, left + dx + width, top + dy + height * rng.uniform(0.9, 1.1)])
                masks.append(np.roll(run_lengths.decode(entry["segmentation"]), (dy, dx), (0, 1)))
                right_class = rng.random() < 0.9
                labels.append(IDS.index(entry["category_id"]) if right_class else rng.integers(len(IDS)))
        samples.append(
            {
                "img_id": image["id"],
                "img_path": image["file_name"],
                "pred_instances": {
                    "bboxes": torch.tensor(np.array(boxes).reshape(-1, 4), dtype=torch.float32),
                    # Coarse, so that scores tie.
                    "scores": torch.tensor(rng.integers(5, 100, len(boxes)) / 100, dtype=torch.float32),
                    "labels": torch.tensor(np.array(labels, np.int64)),
                    "masks": torch.tensor(np.array(masks).reshape(-1, image["height"], image["width"]) > 0),
                },
            }
        )
    return samples


def evaluated(file: Path, samples: list[dict[str, Any]]) -> tuple[ExactCoco, dict[str, float]]:
    metric = ExactCoco(str(file))
    metric.dataset_meta = {"classes": CLASSES}
    for sample in samples:
        metric.process({}, [sample])
    return metric, metric.evaluate(len(samples))


def official(file: Path, detections: list[dict[str, Any]], kind: str) -> dict[str, float]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(file))
        evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(detections)), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {f"{kind}_{name}": 100 * value for name, value in zip(NUMBERS, evaluation.stats, strict=True)}


@pytest.mark.parametrize("seed", [0, 1])
def test_all_numbers_are_those_of_pycocotools(file: Path, seed: int) -> None:
    _, found = evaluated(file, fabricated(read_annotations(file), seed))
    results = _processed(file, seed)
    expected = official(file, boxes_of(results, IDS), "bbox") | official(file, masks_of(results, IDS), "segm")
    assert len(found) == 24 and 5 < found["bbox_AP"] < 95 and found["bbox_AP"] != found["segm_AP"]
    for name, value in expected.items():
        if value == -100:  # pycocotools' sign of a number that is not defined
            assert np.isnan(found[name]), name
        else:
            assert found[name] == pytest.approx(value, abs=1e-10), name


def _processed(file: Path, seed: int) -> list[dict[str, Any]]:
    metric = ExactCoco(str(file))
    for sample in fabricated(read_annotations(file), seed):
        metric.process({}, [sample])
    return metric.results


def test_the_truth_itself_scores_100(file: Path) -> None:
    truth = read_annotations(file)
    samples = []
    for image in truth["images"]:
        entries = [entry for entry in truth["annotations"] if entry["image_id"] == image["id"]]
        corners = [(x, y, x + width, y + height) for x, y, width, height in (entry["bbox"] for entry in entries)]
        instances = {
            "bboxes": torch.tensor(corners, dtype=torch.float32).reshape(-1, 4),
            "scores": torch.ones(len(entries)),
            "labels": torch.tensor([IDS.index(entry["category_id"]) for entry in entries], dtype=torch.int64),
        }
        samples.append({"img_id": image["id"], "img_path": image["file_name"], "pred_instances": instances})
    _, found = evaluated(file, samples)
    assert found["bbox_AP"] == pytest.approx(100)
    assert "segm_AP" not in found  # a detector without masks


def test_the_kept_detections_are_all_of_them(file: Path) -> None:
    samples = fabricated(read_annotations(file), 0)
    metric, _ = evaluated(file, samples)
    kept, total = metric.per_image, sum(len(sample["pred_instances"]["labels"]) for sample in samples)
    assert len(kept["images"]) == len(kept["image_ids"]) == len(samples)
    assert len(kept["scores"]) == len(kept["boxes"]) == len(kept["mask_lengths"]) == total
    assert kept["mask_lengths"].sum() == len(kept["mask_counts"])
    assert set(kept["category_ids"]) <= set(IDS)


def test_no_detection_at_all_scores_0(file: Path) -> None:
    samples = fabricated(read_annotations(file), 0)
    for sample in samples:
        sample["pred_instances"] = {key: value[:0] for key, value in sample["pred_instances"].items()}
    _, found = evaluated(file, samples)
    assert found["bbox_AP"] == found["segm_AP"] == 0


def test_classes_that_the_file_lacks(file: Path) -> None:
    metric = ExactCoco(str(file))
    metric.dataset_meta = {"classes": (*CLASSES, "unicorn")}
    metric.process({}, fabricated(read_annotations(file), 0)[:1])
    with pytest.raises(DensebenchError, match="lacks 1 categories of the model: unicorn"):
        metric.evaluate(1)

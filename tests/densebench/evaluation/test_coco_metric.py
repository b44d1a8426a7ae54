"""COCO's average precision, equal to pycocotools in all 24 numbers."""

import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

import faster_coco_eval
import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from densebench.data import mini
from densebench.data.coco import CATEGORIES, annotation_file, read_annotations
from densebench.errors import DensebenchError
from densebench.evaluation.average_precision import average_precisions
from densebench.evaluation.coco_accumulation import NUMBERS, matches_of, numbers
from densebench.evaluation.coco_metric import ExactCoco, encoded
from densebench.evaluation.coco_results import box_results, mask_results, write_results
from densebench.leaderboard.bootstrap import mean
from tests.densebench.fabricated_detections import CLASSES, IDS, evaluated, fabricated


@pytest.fixture(scope="module")
def file() -> Path:
    return annotation_file(mini.make("coco"), "val")


def official(
    file: Path, detections: list[dict[str, Any]], kind: str, reference: tuple[Any, Any] = (COCO, COCOeval)
) -> dict[str, float]:
    index_class, evaluation_class = reference
    with contextlib.redirect_stdout(io.StringIO()):
        truth = index_class(str(file))
        evaluation = evaluation_class(truth, truth.loadRes(copy.deepcopy(detections)), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {f"{kind}_{name}": 100 * value for name, value in zip(NUMBERS, evaluation.stats[:12], strict=True)}


def assert_equal(found: dict[str, float], expected: dict[str, float]) -> None:
    for name, value in expected.items():
        if value == -100:  # pycocotools' sign of a number that is not defined
            assert np.isnan(found[name]), name
        else:
            assert found[name] == pytest.approx(value, abs=1e-10), name


@pytest.mark.parametrize("reference", [(COCO, COCOeval), (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster)])
@pytest.mark.parametrize("seed", [0, 1])
def test_all_numbers_are_those_of_pycocotools_and_faster_coco_eval(
    file: Path, seed: int, reference: tuple[Any, Any]
) -> None:
    metric, found = evaluated(file, fabricated(read_annotations(file), seed))
    expected = official(file, box_results(metric.per_image), "bbox", reference)
    expected |= official(file, mask_results(metric.per_image), "segm", reference)
    assert len(found) == 24 and 5 < found["bbox_AP"] < 95 and found["bbox_AP"] != found["segm_AP"]
    assert_equal(found, expected)


def test_crowds_sizes_and_many_detections(tmp_path: Path) -> None:
    """What the miniature lacks: crowds, large objects, more than 100 detections of a kind, images out of order."""
    rng = np.random.default_rng(0)
    images = [{"id": number, "file_name": f"{number}.jpg", "height": 600, "width": 800} for number in (7, 3, 11, 5)]
    annotations, samples = [], []
    for image in images:
        boxes = np.concatenate([rng.uniform(0, 300, (30, 2)), np.geomspace(8, 250, 60).reshape(30, 2)], axis=1)
        for box in boxes:
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": image["id"], "category_id": IDS[rng.integers(3)],
                    "bbox": box.tolist(), "area": float(box[2] * box[3] * rng.uniform(0.4, 1)),
                    "iscrowd": int(rng.random() < 0.2),
                }
            )  # fmt: skip
        shifted = np.tile(boxes, (8, 1)) + rng.normal(0, 2, (240, 4))
        shifted[:, 2:] = shifted[:, :2] + shifted[:, 2:].clip(1)
        instances = {
            "bboxes": torch.tensor(shifted, dtype=torch.float32),
            "scores": torch.tensor(rng.integers(0, 50, 240) / 50, dtype=torch.float32),
            "labels": torch.tensor(rng.integers(0, 4, 240) // 2),  # 0 twice as often as expected, 2 never
        }
        samples.append({"img_id": image["id"], "img_path": image["file_name"], "pred_instances": instances})
    file = tmp_path / "instances.json"
    categories = [{"id": number, "name": name} for number, name in CATEGORIES.items()]
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    metric, found = evaluated(file, samples)
    expected = official(file, box_results(metric.per_image), "bbox")
    assert min(expected.values()) > 0 and expected["bbox_AR1"] < expected["bbox_AR10"] < expected["bbox_AR100"]
    assert_equal(found, expected)


def test_the_written_results_give_the_same_numbers(file: Path, tmp_path: Path) -> None:
    metric, found = evaluated(file, fabricated(read_annotations(file), 2))
    files = write_results(metric.per_image, tmp_path / "new")
    assert [path.name for path in files] == ["bbox.json", "segm.json"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["bbox.json", "segm.json"]
    for path in files:
        entries = json.loads(path.read_text())
        assert set(entries[0]) == {
            "image_id",
            "category_id",
            "score",
            {"bbox": "bbox", "segm": "segmentation"}[path.stem],
        }
        assert_equal(found, official(file, entries, path.stem))


def test_kept_matches_give_the_numbers_again(file: Path, tmp_path: Path) -> None:
    metric, found = evaluated(file, fabricated(read_annotations(file), 0))
    np.savez(tmp_path / "kept.npz", **metric.per_image)
    with np.load(tmp_path / "kept.npz") as kept:
        for kind in ("bbox", "segm"):
            again = {f"{kind}_{name}": value for name, value in numbers(matches_of(kept, kind)).items()}
            assert again == pytest.approx({name: found[name] for name in again}, abs=1e-12, nan_ok=True)


def test_a_resample_scores_as_the_data_set_that_it_makes(file: Path, tmp_path: Path) -> None:
    content = read_annotations(file)
    samples = fabricated(content, 3)
    metric, _ = evaluated(file, samples)
    weights = np.random.default_rng(4).multinomial(len(samples), np.full(len(samples), 1 / len(samples)))
    copies = [index for index, weight in enumerate(weights) for _ in range(weight)]
    drawn: dict[str, Any] = {"images": [], "annotations": [], "categories": content["categories"]}
    drawn_samples = []
    for number, index in enumerate(copies, 1):
        image = content["images"][index]
        drawn["images"].append({**image, "id": number})
        for entry in (entry for entry in content["annotations"] if entry["image_id"] == image["id"]):
            drawn["annotations"].append({**entry, "id": len(drawn["annotations"]) + 1, "image_id": number})
        drawn_samples.append({**samples[index], "img_id": number})
    resampled = tmp_path / "resampled.json"
    resampled.write_text(json.dumps(drawn))
    _, expected = evaluated(resampled, drawn_samples)
    assert max(weights) > 1 and min(weights) == 0
    for kind in ("bbox", "segm"):
        matches = matches_of(metric.per_image, kind)
        for area, suffix in enumerate(("", "s", "m", "l")):
            found = average_precisions(weights[None], matches.outcomes(area), 10)
            assert 100 * mean(found)[0] == pytest.approx(expected[f"{kind}_AP{suffix}"], abs=1e-10, nan_ok=True)


def test_annotations_are_read_once(file: Path, tmp_path: Path) -> None:
    copied = tmp_path / "instances.json"
    copied.write_bytes(file.read_bytes())
    samples = fabricated(read_annotations(file), 0)
    metric, first = evaluated(copied, samples)
    copied.unlink()
    metric.process({}, samples)
    assert metric.evaluate(len(samples)) == pytest.approx(first, nan_ok=True)


def test_masks_as_run_lengths_and_as_pictures(file: Path) -> None:
    samples = fabricated(read_annotations(file), 0)
    _, expected = evaluated(file, samples)
    for sample in samples:
        sample["pred_instances"]["masks"] = encoded(sample["pred_instances"]["masks"])
    _, found = evaluated(file, samples)
    assert found == pytest.approx(expected, nan_ok=True)


def test_more_masks_than_a_byte_counts(file: Path) -> None:
    # pycocotools' area() fails with numpy 2 on 256 masks at once.
    samples = fabricated(read_annotations(file), seed=0)
    for sample in samples:
        sample["pred_instances"] = {key: torch.cat([found] * 4) for key, found in sample["pred_instances"].items()}
    metric, metrics = evaluated(file, samples)
    assert len(metric.per_image["mask_lengths"]) > 255
    assert metrics["segm_AP"] == pytest.approx(
        official(file, mask_results(metric.per_image), "segm")["segm_AP"], abs=1e-10
    )


def test_tested_images_that_the_file_does_not_list(file: Path) -> None:
    samples = fabricated(read_annotations(file), 0)[:2]
    samples[1]["img_id"] = 10**6
    with pytest.raises(DensebenchError, match=r"1 of the tested images are not listed .* \(id 1000000"):
        evaluated(file, samples)


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

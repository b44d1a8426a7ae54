"""The main job for detectors on the miniature: train and test a tiny Mask R-CNN through the tools."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from densebench.data import mini
from densebench.data.coco import annotation_file
from densebench.errors import DensebenchError
from densebench.evaluation.coco_accumulation import NUMBERS, matches_of, numbers
from densebench.evaluation.testing import test as run_test
from densebench.recipe import RunOptions
from densebench.results.records import read_records
from tests.running import Result, run_tool

TINY = (
    "model.backbone.depths=(1,1,1,1)",
    "model.backbone.dims=(8,12,16,24)",
    "model.neck.out_channels=16",
    "model.rpn_head.in_channels=16",
    "model.rpn_head.feat_channels=16",
    "model.roi_head.bbox_roi_extractor.out_channels=16",
    "model.roi_head.mask_roi_extractor.out_channels=16",
    "model.roi_head.bbox_head.in_channels=16",
    "model.roi_head.bbox_head.fc_out_channels=32",
    "model.roi_head.mask_head.in_channels=16",
    "model.roi_head.mask_head.conv_out_channels=16",
    # Untrained scores are about 1 / 81.
    "model.test_cfg.rcnn.score_thr=0.001",
    "model.test_cfg.rcnn.max_per_img=10",
)


def tool(name: str, *arguments: object, overrides: tuple[str, ...] = (), fresh: bool = False) -> Result:
    return run_tool(name, *arguments, "--cfg-options", *TINY, *overrides, fresh=fresh)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work dir of a short training, which ends with a validation."""
    work_dir = tmp_path_factory.mktemp("trained")
    result = tool("train", "mask_rcnn_convnext_t_coco", "--mini", "--mini-iters", 3, "--work-dir", work_dir, fresh=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert sum("iteration" in line and "loss" in line for line in lines) == 3
    assert any(line.startswith("  validation: bbox AP") and "segm AP" in line for line in lines)
    assert len(lines) < 12 and "OneDL" not in result.stdout
    return work_dir


def test_the_saved_config_is_that_of_the_recipe(trained: Path) -> None:
    config = Config.fromfile(trained / "config.py", import_custom_modules=False)
    assert config.default_scope == "mmdet"
    assert config.custom_imports.imports == ["densebench.registration_detection"]
    assert config.train_cfg == {"type": "IterBasedTrainLoop", "max_iters": 3, "val_interval": 3}
    assert config.model.neck.in_channels == [8, 12, 16, 24]
    assert config.model.roi_head.bbox_head.num_classes == config.model.roi_head.mask_head.num_classes == 80
    assert "test_cfg" not in config.model.roi_head  # nothing that building writes into it


def test_testing_writes_a_whole_record(trained: Path, tmp_path: Path) -> None:
    result = tool(
        "test", "mask_rcnn_convnext_t_coco", trained / "iter_3.pth", "--mini", "--work-dir", tmp_path,
        "--out", tmp_path / "out", "--show-dir", tmp_path / "show", fresh=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "bbox AP" in result.stdout and "OneDL" not in result.stdout and result.stderr == ""
    records, problems = read_records([tmp_path])
    assert not problems
    (record,) = records
    assert record.kind == "test-ss" and record.provenance["num_images"] == 24
    assert record.metrics["bbox_AP"] >= 0 and record.metrics["segm_AP50"] >= 0
    assert record.metrics["mIoU"] is None and record.metrics["bbox_APl"] is None  # no object is that large
    assert record.cost["params_m"] > 0 and set(record.cost["flops_by_part"]) == {
        "backbone", "neck", "rpn_head", "bbox_head", "mask_head",
    }  # fmt: skip
    with np.load(record.per_image) as parts:
        assert len(parts["images"]) == 24 and not any(name.startswith("/") for name in parts["images"])
        assert len(parts["scores"]) == len(parts["boxes"]) == len(parts["mask_lengths"]) > 0
        for kind in ("bbox", "segm"):
            again = numbers(matches_of(parts, kind))
            assert again["AP"] == pytest.approx(record.metrics[f"{kind}_AP"], abs=1e-12)
    assert len(list((tmp_path / "show").glob("*.jpg"))) == 24
    truth = COCO(str(annotation_file(mini.make("coco"), "val")))
    for kind in ("bbox", "segm"):
        evaluation = COCOeval(truth, truth.loadRes(str(tmp_path / "out" / f"{kind}.json")), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        found = [record.metrics[f"{kind}_{name}"] for name in NUMBERS]
        assert [value if value is None else pytest.approx(value, abs=1e-10) for value in found] == [
            None if value < 0 else 100 * value for value in evaluation.stats
        ]


def test_the_bound_on_scores_is_for_segmentation(tmp_path: Path) -> None:
    options = RunOptions("mask_rcnn_convnext_t_coco", mini=True, pretrained="none", work_dir=str(tmp_path))
    with pytest.raises(DensebenchError, match="--max-memory bounds the scores of segmentation"):
        run_test(options, None, multi_scale=True, command=[], max_memory_gb=1.0)


def test_multi_scale_testing_writes_its_own_record(trained: Path, tmp_path: Path) -> None:
    # Few proposals: untrained, each is a candidate of all classes in every view.
    overrides = ("test_ms.scales=((640,96),(640,160))", "model.test_cfg.rpn.max_per_img=10")
    result = tool(
        "test", "mask_rcnn_convnext_t_coco", trained / "iter_3.pth", "--mini", "--aug-test", "--work-dir", tmp_path,
        overrides=overrides,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stderr == "" and "test-ms of" in result.stdout
    records, problems = read_records([tmp_path])
    assert not problems
    (record,) = records
    assert record.kind == "test-ms" and record.provenance["num_images"] == 24
    assert record.protocol == {"scales": [[640, 96], [640, 160]], "flip": True, "train_size": "77-128x213"}
    assert record.metrics["bbox_AP"] >= 0 and record.metrics["segm_AP50"] >= 0
    with np.load(record.per_image) as parts:
        assert len(parts["images"]) == 24
        # As many as the recipe keeps of an image.
        assert len(parts["scores"]) == len(parts["mask_lengths"]) == 24 * 10

"""One's own detection data in COCO's format: any classes, from files to a record."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from densebench.data.coco import annotation_file
from densebench.engine.training import train
from densebench.errors import DensebenchError
from densebench.evaluation.testing import test as run_test
from densebench.recipe import RunOptions, resolve
from densebench.results.records import read_records
from tests.densebench.tiny_detector import TINY_MASK_RCNN

CONFIG = "mask_rcnn_convnext_t_folder"
CATEGORIES = [{"id": 40, "name": "square"}, {"id": 7, "name": "bar"}]
TINY = {
    **TINY_MASK_RCNN,
    "model.train_cfg.rcnn.sampler.num": 32,
    "model.test_cfg.rpn.max_per_img": 50,
}


def make(root: Path, official_names: bool = False) -> Path:
    """Four images to train on and two to test on, each with a square and a bar."""
    random = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        name = f"{split}2017" if official_names else split
        (root / name).mkdir(parents=True)
        content: dict[str, Any] = {"images": [], "annotations": [], "categories": CATEGORIES}
        for number in range(1, count + 1):
            pixels = random.integers(0, 80, (96, 128, 3), np.uint8)
            content["images"].append({"id": number, "file_name": f"{number}.png", "height": 96, "width": 128})
            for category, (left, top, width, height) in ((40, (8, 8, 40, 40)), (7, (60, 50, 60, 16))):
                pixels[top : top + height, left : left + width] = 250
                right, bottom = left + width, top + height
                content["annotations"].append(
                    {
                        "id": len(content["annotations"]) + 1,
                        "image_id": number,
                        "category_id": category,
                        "bbox": [left, top, width, height],
                        "area": width * height,
                        "iscrowd": 0,
                        "segmentation": [[left, top, right, top, right, bottom, left, bottom]],
                    }
                )
            Image.fromarray(pixels).save(root / name / f"{number}.png")
        file = root / "annotations" / (f"instances_{name}.json" if official_names else f"{name}.json")
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(content))
    return root


def change(root: Path, split: str, edit: Any) -> None:
    file = annotation_file(root, split)
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def options(root: Path, work_dir: Path, **more: Any) -> RunOptions:
    return RunOptions(CONFIG, data_root=str(root), mini=True, work_dir=str(work_dir), cfg_options=TINY, **more)


def test_it_trains_and_tests_with_the_classes_of_the_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = make(tmp_path / "data")
    train(options(root, tmp_path / "run", mini_iters=1))
    assert "(2 classes)" in capfd.readouterr().out
    run_test(options(root, tmp_path / "run"), None, multi_scale=False, command=[])
    (record,), problems = read_records([tmp_path / "run"])
    assert not problems and record.dataset == "folder" and record.provenance["num_images"] == 2
    assert record.metrics["bbox_AP"] >= 0 and record.metrics["segm_AP"] >= 0
    assert record.provenance["generated_data"] is False
    assert record.per_image is not None
    with np.load(record.per_image) as parts:
        assert parts["classes"].tolist() == ["bar", "square"]  # in the order of the ids
        assert set(parts["category_ids"].tolist()) <= {7, 40}
        assert parts["images"].tolist() == ["val/1.png", "val/2.png"]


def test_boxes_alone_need_no_masks(tmp_path: Path) -> None:
    root = make(tmp_path / "data")
    for split in ("train", "val"):
        change(root, split, lambda content: [entry.pop("segmentation") for entry in content["annotations"]])
    tiny = {
        "model.backbone.depths": (1, 1, 1, 1),
        "model.backbone.dims": (8, 12, 16, 24),
        "model.neck.out_channels": 32,
        "model.bbox_head.in_channels": 32,
        "model.bbox_head.feat_channels": 32,
        "model.bbox_head.stacked_convs": 1,
    }
    run = RunOptions(
        "fcos_convnext_t_folder", data_root=str(root), mini=True, work_dir=str(tmp_path / "run"), cfg_options=tiny
    )
    train(replace(run, mini_iters=1))
    run_test(run, None, multi_scale=False, command=[])
    (record,), problems = read_records([tmp_path / "run"])
    assert not problems
    assert record.metrics["bbox_AP"] >= 0 and record.metrics["segm_AP"] is None


@pytest.mark.parametrize("official_names", [False, True])
def test_both_ways_of_naming_the_files(tmp_path: Path, official_names: bool) -> None:
    recipe = resolve(RunOptions(CONFIG, data_root=str(make(tmp_path, official_names))))
    assert recipe.dataset is not None and recipe.dataset.num_classes == 2
    assert recipe.config.model.roi_head.bbox_head.num_classes == recipe.config.model.roi_head.mask_head.num_classes == 2
    assert recipe.config.train_dataloader.dataset.classes == ["bar", "square"]
    assert recipe.identity.pretrain == "none" and recipe.identity.dataset == "folder"
    assert recipe.config.val_evaluator.ann_file == str(annotation_file(tmp_path, "val"))


def test_the_miniature_has_classes_of_its_own() -> None:
    recipe = resolve(RunOptions(CONFIG, mini=True, backbone="timm/resnet18"))
    assert recipe.dataset is not None and recipe.dataset.num_classes == 8 and recipe.dataset.is_generated
    assert recipe.config.model.neck.in_channels == [64, 128, 256, 512]


def test_without_data_the_layout_is_told(tmp_path: Path) -> None:
    with pytest.raises(DensebenchError, match="'folder' needs --data-root D"):
        resolve(RunOptions(CONFIG))
    with pytest.raises(DensebenchError, match=r"(?s)no coco_folder data: .* does not exist.*annotations/train.json"):
        resolve(RunOptions(CONFIG, data_root=str(tmp_path / "nowhere")))


def test_splits_of_other_categories(tmp_path: Path) -> None:
    change(make(tmp_path), "val", lambda content: content["categories"].pop())
    with pytest.raises(DensebenchError, match=r"val.json and of the training split differ in 1: id 7: bar in training"):
        resolve(RunOptions(CONFIG, data_root=str(tmp_path)))


def test_bad_annotations_are_one_message_before_the_training(tmp_path: Path) -> None:
    root = make(tmp_path / "data")
    change(root, "train", lambda content: content["annotations"][2].pop("segmentation"))
    with pytest.raises(DensebenchError, match="1 annotations without a mask, which this method needs"):
        train(options(root, tmp_path / "run"))

"""Our mIoU and our prediction files against the official evaluation, cityscapesscripts."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling
from PIL import Image

from densebench.data.cityscapes import label_id_of_train_id, train_ids
from densebench.evaluation.iou import area_counts, class_iou, summarize
from densebench.evaluation.prediction_files import PredictionFilesHook

official = evalPixelLevelSemanticLabeling
SIZE = (24, 48)


def official_results(predictions: list[str], labels: list[str]) -> dict[str, object]:
    arguments = official.CArgs()
    arguments.__dict__ |= official.args.__dict__
    arguments.quiet, arguments.JSONOutput, arguments.evalInstLevelScore = True, False, False
    return official.evaluateImgLists(predictions, labels, arguments)


def write_data(root: Path) -> list[tuple[Path, Path]]:
    """Images and labelIds files of three towns, with all 34 ids."""
    rng = np.random.default_rng(0)
    files = []
    for index, city in enumerate(("frankfurt", "lindau", "munster")):
        name = f"{city}_{index:06d}_000294"
        image, label = (
            root / f"{folder}/val/{city}/{name}_{ending}.png"
            for folder, ending in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelIds"))
        )
        for path in (image, label):
            path.parent.mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (*SIZE, 3), np.uint8)).save(image)
        Image.fromarray(rng.integers(0, 34, SIZE, np.uint8)).save(label)
        files.append((image, label))
    return files


@pytest.mark.parametrize("num_predicted", [19, 7])  # with seven, twelve classes are labelled and never predicted
def test_miou_is_that_of_the_official_evaluation(tmp_path: Path, num_predicted: int) -> None:
    rng = np.random.default_rng(1)
    files, out = write_data(tmp_path), tmp_path / "out"
    hook = PredictionFilesHook(out, None, "cityscapes")
    totals = np.zeros((3, 19), np.int64)
    for image, label_file in files:
        label = train_ids(label_file)
        is_right = (label < num_predicted) & (rng.random(SIZE) < 0.6)
        prediction = np.where(is_right, label, rng.integers(0, num_predicted, SIZE))
        totals += area_counts(prediction, label, 19, 255)
        data = torch.from_numpy(prediction)[None]  # (H, W) -> (1, H, W)
        sample = SimpleNamespace(img_path=str(image), metainfo={}, pred_sem_seg=SimpleNamespace(data=data))
        hook.after_test_iter(None, 0, outputs=[sample])

    labels = [str(label) for _, label in files]
    search = SimpleNamespace(predictionPath=str(out), predictionWalk=None)
    predictions = [official.getPrediction(search, label) for label in labels]
    assert [Path(path).name for path in predictions] == [image.name for image, _ in files]
    found = official_results(predictions, labels)
    assert summarize(totals)["mIoU"] == pytest.approx(100 * found["averageScoreClasses"], abs=1e-9)
    by_name = found["classScores"]
    names = [official.id2label[label_id].name for label_id in label_id_of_train_id()]
    assert class_iou(totals) == pytest.approx([100 * by_name[name] for name in names], abs=1e-9)

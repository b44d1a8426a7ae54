"""mIoU: a known answer, mmseg's own metric, absent classes, the majority baseline."""

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from densebench.errors import DensebenchError
from densebench.evaluation.iou import ExactIoU, area_counts, class_iou, summarize


def sample(prediction: np.ndarray, label: np.ndarray, path: str) -> dict[str, object]:
    data_sample = SegDataSample(metainfo={"img_path": path})
    data_sample.pred_sem_seg = PixelData(data=torch.from_numpy(prediction)[None])
    data_sample.gt_sem_seg = PixelData(data=torch.from_numpy(label)[None])
    return data_sample.to_dict()


def test_known_answer() -> None:
    label = np.array([[0, 0, 1, 255]])
    prediction = np.array([[0, 1, 1, 2]])
    counts = area_counts(prediction, label, num_classes=3, ignore_index=255)
    assert counts.tolist() == [[1, 1, 0], [1, 2, 0], [2, 1, 0]]  # intersection, predicted, labelled
    np.testing.assert_allclose(class_iou(counts), [50.0, 50.0, np.nan])
    metrics = summarize(counts)
    assert metrics["mIoU"] == 50 and metrics["aAcc"] == pytest.approx(200 / 3) and metrics["mAcc"] == 75
    # Class 0 everywhere: IoU 2/3 for it, 0 for class 1.
    assert metrics["majority_class_mIoU"] == pytest.approx(100 / 3)


def test_equals_mmseg_up_to_its_rounding() -> None:
    from mmseg.evaluation import IoUMetric

    generator = np.random.default_rng(0)
    ours, theirs = ExactIoU(num_classes=7), IoUMetric(iou_metrics=["mIoU"])
    ours.dataset_meta = theirs.dataset_meta = {"classes": [str(index) for index in range(7)]}
    samples = []
    for index in range(12):
        label = generator.integers(0, 6, (40, 60))  # class 6 never occurs
        prediction = np.where(generator.random((40, 60)) < 0.6, label, generator.integers(0, 6, (40, 60)))
        label[generator.random((40, 60)) < 0.1] = 255
        samples.append(sample(prediction, label.astype(np.uint8), f"{index}.jpg"))
    for metric in (ours, theirs):
        metric.process({}, samples)
    found, expected = ours.evaluate(12), theirs.evaluate(12)
    for name in ("mIoU", "mAcc", "aAcc"):
        assert found[name] == pytest.approx(expected[name], abs=0.005)
    assert found["mIoU"] != round(found["mIoU"], 2)  # unrounded


def test_per_image_parts_add_up() -> None:
    generator = np.random.default_rng(1)
    metric = ExactIoU(num_classes=4)
    for index in range(5):
        label = generator.integers(0, 4, (8, 9)).astype(np.uint8)
        metric.process({}, [sample(generator.integers(0, 4, (8, 9)), label, f"/data/{index}.jpg")])
    metrics = metric.evaluate(5)
    parts = metric.per_image
    assert parts["images"] == [f"/data/{index}.jpg" for index in range(5)]
    assert parts["intersections"].shape == parts["unions"].shape == (5, 4)
    again = 100 * np.mean(parts["intersections"].sum(0) / parts["unions"].sum(0))
    assert again == pytest.approx(metrics["mIoU"], abs=1e-12)


def test_large_counts_stay_exact() -> None:
    # float32 sums lose single pixels above 2**24.
    totals = np.array([[2**40, 1], [2**40 + 1, 1], [2**40, 2]], dtype=np.int64)
    assert class_iou(totals)[0] == pytest.approx(100 * 2**40 / (2**40 + 1), abs=1e-13)


def test_without_a_labelled_pixel_there_is_no_result() -> None:
    metric = ExactIoU(num_classes=2)
    blank = np.full((2, 3), 255, np.uint8)
    metric.process({}, [sample(np.zeros((2, 3), np.int64), blank, "a.jpg")])
    with pytest.raises(DensebenchError, match="no labelled pixel in the 1 test images"):
        metric.evaluate(1)


def test_a_label_that_is_no_class_is_refused_also_out_of_the_thread() -> None:
    label = np.full((4, 4), 3, np.uint8)
    with pytest.raises(DensebenchError, match=r"0\.\.2 or 255 .* found 3"):
        area_counts(np.zeros((4, 4), np.int64), label, num_classes=3, ignore_index=255)
    metric = ExactIoU(num_classes=3)
    with pytest.raises(DensebenchError, match="found 3"):
        metric.process({}, [sample(np.zeros((4, 4), np.int64), label, "wrong.jpg")])
        metric.evaluate(1)


@pytest.mark.parametrize("ignore_index", [255, 0])
def test_ignored_pixels_do_not_count(ignore_index: int) -> None:
    generator = np.random.default_rng(2)
    label, prediction = generator.integers(0, 5, (30, 40)).astype(np.uint8), generator.integers(0, 5, (30, 40))
    label[:10] = ignore_index
    counted = label != ignore_index
    found = area_counts(prediction, label, 5, ignore_index)
    for index in range(5):
        labelled, predicted = (label == index) & counted, (prediction == index) & counted
        assert found[:, index].tolist() == [(labelled & predicted).sum(), predicted.sum(), labelled.sum()]


def test_float32_sums_lose_pixels_and_ours_do_not() -> None:
    """Over a validation set mmseg's float32 areas are off; ours are the sum of all images' counts."""
    per_image, images = 2**24 // 5 + 1, 40
    ours, theirs = np.zeros(1, np.int64), torch.zeros(1)
    for _ in range(images):
        ours += per_image
        theirs += torch.tensor([float(per_image)])
    assert ours[0] == per_image * images != int(theirs[0])

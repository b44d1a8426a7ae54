"""Multi-scale testing of detectors: one view as the detector itself, many by hand, mirrored, and in bounded memory."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope
from numpy.typing import NDArray
from tiny_detectors import build
from torch import nn

from densebench import mmcv_ops
from densebench.cost.memory import allocated_peak_bytes
from densebench.data.detection_pipelines import test_pipeline as pipeline_of
from densebench.engine.amp import low_precision
from densebench.errors import DensebenchError

mmcv_ops.install()

from mmcv.ops import batched_nms  # noqa: E402
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask  # noqa: E402
from mmdet.structures import DetDataSample  # noqa: E402
from mmdet.structures.bbox import bbox2roi, bbox_mapping, bbox_mapping_back, bbox_overlaps  # noqa: E402

import densebench.registration_detection  # noqa: E402, F401
from densebench.evaluation.multi_scale_detection import (  # noqa: E402
    TwoPassMultiScaleDetection,
    View,
    above_threshold,
    from_frame,
    to_frame,
)

KINDS = ("mask_rcnn", "faster_rcnn", "cascade_mask_rcnn", "fcos")
WITH_MASKS = ("mask_rcnn", "cascade_mask_rcnn")
NMS = {"type": "nms", "iou_threshold": 0.5}
SOFT_NMS = {"type": "soft_nms", "iou_threshold": 0.5, "min_score": 0.05}

Image = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def mmdet_scope() -> Iterator[None]:
    with DefaultScope.overwrite_default_scope("mmdet"):
        yield


def image_of(height: int, width: int, seed: int = 0) -> Image:
    """Coarse random colours: (height, width, 3)."""
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return np.ascontiguousarray(blocks.repeat(8, axis=0).repeat(8, axis=1)[:height, :width])


def batch_of(images: list[Image], protocol: dict[str, Any]) -> dict[str, Any]:
    """What the loader gives for a protocol, without the files."""
    transforms = Compose(pipeline_of(protocol)[1:])
    return pseudo_collate(
        [
            transforms({"img": image, "img_shape": image.shape[:2], "ori_shape": image.shape[:2], "img_id": index})
            for index, image in enumerate(images)
        ]
    )


def single_scale(model: nn.Module, images: list[Image], scale: tuple[int, int]) -> list[Any]:
    with torch.no_grad():
        return [sample.pred_instances for sample in model.test_step(batch_of(images, {"scale": scale}))]


def multi_scale(model: nn.Module, images: list[Image], *scales: tuple[int, int], flip: bool = False) -> list[Any]:
    wrapper = TwoPassMultiScaleDetection(module=model)
    with torch.no_grad():
        samples = wrapper.test_step(batch_of(images, {"scales": scales, "flip": flip}))
    return [sample.pred_instances for sample in samples]


def assert_equal(found: list[Any], expected: list[Any]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert set(one.keys()) == set(other.keys())
        for key in one.keys():  # noqa: SIM118
            assert one[key].dtype == other[key].dtype
            assert torch.equal(one[key], other[key]), key


@pytest.mark.parametrize("scale", [(160, 96), (211, 127)], ids=["original", "enlarged"])
@pytest.mark.parametrize("nms", [NMS, SOFT_NMS], ids=["nms", "soft_nms"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_single_view_gives_the_single_scale_result(kind: str, nms: dict[str, Any], scale: tuple[int, int]) -> None:
    model = build(kind, nms=nms)
    images = [image_of(96, 160), image_of(96, 128, seed=1)]
    for batch in (images[:1], images):
        found, expected = multi_scale(model, batch, scale), single_scale(model, batch, scale)
        assert_equal(found, expected)
        assert all(len(one) > 5 for one in found)
        if kind in WITH_MASKS:
            for image, one in zip(batch, found, strict=True):
                assert one.masks.shape == (len(one), *image.shape[:2])
                # Neither empty nor all of the box.
                assert 0.1 < one.masks.sum() / areas(one.bboxes).sum() < 0.9


@pytest.mark.parametrize("protocol", ["single", "multi"])
@pytest.mark.parametrize("kind", KINDS)
def test_low_precision_runs_and_leaves_the_median_box_in_place(kind: str, protocol: str) -> None:
    model = build(kind)
    images = [image_of(96, 160)]

    def test_once() -> Any:
        if protocol == "single":
            return single_scale(model, images, (160, 96))[0]
        return multi_scale(model, images, (160, 96), (211, 127), flip=True)[0]

    expected = test_once()
    with low_precision(model, torch.bfloat16):
        found = test_once()
    assert found.bboxes.dtype == found.scores.dtype == torch.float32
    assert not torch.equal(found.scores, expected.scores)  # it did run in low precision
    overlaps = bbox_overlaps(expected.bboxes, found.bboxes) * (expected.labels[:, None] == found.labels)
    # Random weights score boxes nearly alike: up to a third of those that pass suppression and the cut are others.
    # So this bounds how far a box moves, and not how many there are in both.
    assert overlaps.max(dim=1).values.median() > 0.9


def areas(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)


@pytest.mark.parametrize("kind", KINDS)
def test_many_views_by_hand(kind: str) -> None:
    """Against all views at once through mmdet's own geometry of augmented tests."""
    model = build(kind)
    images, scales = [image_of(96, 160), image_of(64, 128, seed=1)], ((160, 96), (240, 144), (110, 70))
    batch = batch_of(images, {"scales": scales, "flip": True})
    found = multi_scale(model, images, *scales, flip=True)
    with torch.no_grad():
        views = [model.data_preprocessor({key: batch[key][view] for key in batch}) for view in range(6)]
        features = [model.extract_feat(view["inputs"]) for view in views]
        for index, one in enumerate(found):
            metas = [view["data_samples"][index].metainfo for view in views]
            maps = [tuple(level[index : index + 1] for level in levels) for levels in features]
            parts = [candidates(model, levels, meta) for levels, meta in zip(maps, metas, strict=True)]
            boxes, scores, labels = (torch.cat(values) for values in zip(*parts, strict=True))
            best, kept = batched_nms(boxes, scores, labels, NMS)
            torch.testing.assert_close(one.bboxes, best[:20, :4], atol=1e-3, rtol=1e-4)
            torch.testing.assert_close(one.scores, best[:20, 4])
            assert torch.equal(one.labels, labels[kept[:20]])
            assert len({int(view) for view in origin(parts)[kept[:20]]}) > 2  # several views among the best
            if kind in WITH_MASKS:
                masks = [
                    mask_probabilities(model, levels, meta, one.bboxes)
                    for levels, meta in zip(maps, metas, strict=True)
                ]
                assert_masks(model, one, sum(masks) / 6, metas[0]["ori_shape"])


def candidates(model: nn.Module, features: Any, meta: dict[str, Any]) -> tuple[torch.Tensor, ...]:
    """Boxes of one view in the original image, scores and labels, above the threshold and before suppression."""
    if not hasattr(model, "roi_head"):
        (raw,) = model.bbox_head.predict_by_feat(
            *model.bbox_head(features), batch_img_metas=[meta], rescale=False, with_nms=False
        )
        boxes, scores, labels = raw.bboxes, raw.scores, raw.labels
    else:
        sample = DetDataSample(metainfo=meta)
        proposals = model.rpn_head.predict(features, [sample], rescale=False)
        (raw,) = model.roi_head.predict_bbox(features, [meta], proposals, rcnn_test_cfg=None, rescale=False)
        by_class = [
            (raw.bboxes if raw.bboxes.shape[1] == 4 else raw.bboxes[:, 4 * label : 4 * label + 4], raw.scores[:, label])
            for label in range(3)
        ]
        boxes = torch.cat([boxes[scores > 0.05] for boxes, scores in by_class])
        labels = torch.cat([torch.full((int((s > 0.05).sum()),), label) for label, (_, s) in enumerate(by_class)])
        scores = torch.cat([scores[scores > 0.05] for _, scores in by_class])
    factors = (*meta["scale_factor"], *meta["scale_factor"])
    return bbox_mapping_back(boxes, meta["img_shape"], factors, meta["flip"], meta["flip_direction"]), scores, labels


def origin(parts: list[tuple[torch.Tensor, ...]]) -> torch.Tensor:
    """The view that each candidate comes from."""
    return torch.cat([torch.full((len(part[1]),), view) for view, part in enumerate(parts)])


def mask_probabilities(model: nn.Module, features: Any, meta: dict[str, Any], boxes: torch.Tensor) -> torch.Tensor:
    """(N, classes, h, w) of one view for boxes in the original image."""
    factors = (*meta["scale_factor"], *meta["scale_factor"])
    rois = bbox2roi([bbox_mapping(boxes, meta["img_shape"], factors, meta["flip"], meta["flip_direction"])])
    extractors, heads = model.roi_head.mask_roi_extractor, model.roi_head.mask_head
    if not isinstance(heads, nn.ModuleList):
        extractors, heads = [extractors], [heads]
    stages = [head(extract(features[:4], rois)).sigmoid() for extract, head in zip(extractors, heads, strict=True)]
    masks = sum(stages) / len(stages)
    return masks[..., torch.arange(masks.shape[-1] - 1, -1, -1)] if meta["flip"] else masks


def assert_masks(model: nn.Module, found: Any, probabilities: torch.Tensor, shape: tuple[int, int]) -> None:
    """The masks are the probabilities of the box's class, pasted; single pixels at the threshold may differ."""
    chosen = probabilities[torch.arange(len(found)), found.labels][:, None]
    pasted, _ = _do_paste_mask(chosen, found.bboxes, *shape, skip_empty=False)
    assert ((pasted >= 0.5) == found.masks).float().mean() > 0.9999


@pytest.mark.parametrize("kind", KINDS)
def test_the_mirrored_image_gives_the_mirrored_result(kind: str) -> None:
    """With flip: the views of an image and of its mirror image are the same two."""
    model = build(kind)
    image = image_of(96, 160)
    mirror = np.ascontiguousarray(image[:, ::-1])
    (one,), (other,) = (multi_scale(model, [picture], (160, 96), flip=True) for picture in (image, mirror))
    assert len(one) == 20
    torch.testing.assert_close(one.scores, other.scores)
    assert torch.equal(one.labels, other.labels)
    mirrored = torch.stack((160 - other.bboxes[:, 2], other.bboxes[:, 1], 160 - other.bboxes[:, 0], other.bboxes[:, 3]))
    torch.testing.assert_close(one.bboxes, mirrored.T, atol=1e-3, rtol=1e-4)
    # The network itself is not symmetric.
    assert not torch.allclose(one.scores, single_scale(model, [image], (160, 96))[0].scores)
    if kind in WITH_MASKS:
        assert (one.masks == other.masks.flip(-1)).float().mean() > 0.9999


@pytest.mark.parametrize("kind", KINDS)
def test_images_without_detections(kind: str) -> None:
    images = [image_of(96, 160), image_of(64, 128, seed=1)]
    found = multi_scale(build(kind, score_thr=1.1), images, (160, 96), (240, 144), flip=True)
    for image, one in zip(images, found, strict=True):
        assert one.bboxes.shape == (0, 4) and one.scores.shape == one.labels.shape == (0,)
        assert one.labels.dtype == torch.long
        if kind in WITH_MASKS:
            assert one.masks.shape == (0, *image.shape[:2]) and one.masks.dtype == torch.bool


def test_one_image_of_a_batch_without_detections() -> None:
    model = build("mask_rcnn")
    images = [image_of(96, 160), np.zeros((64, 128, 3), np.uint8), image_of(96, 128, seed=1)]
    scores = [one.scores.max() for one in multi_scale(model, images, (160, 96))]
    assert scores[1] < scores[0]
    strict = build("mask_rcnn", score_thr=float(scores[1]))
    full, none, _ = multi_scale(strict, images, (160, 96), flip=True)
    assert len(full) > 0 and len(none) == 0
    assert full.masks.any() and none.masks.shape == (0, 64, 128)


@pytest.mark.parametrize("kind", ["mask_rcnn", "fcos"])
def test_memory_is_that_of_one_view(kind: str) -> None:
    model = build(kind)
    wrapper = TwoPassMultiScaleDetection(module=model)
    images = [image_of(256, 256)]

    def peak(views: int) -> int:
        batch = batch_of(images, {"scales": ((256, 256),) * views, "flip": False})
        with torch.no_grad():
            return allocated_peak_bytes(lambda: wrapper.test_step(batch))

    with torch.no_grad():
        features = model.extract_feat(torch.zeros(1, 3, 256, 256))
    one, many = peak(1), peak(8)
    # Seven more views leave less behind than the features of one.
    assert many - one < 0.5 * sum(level.nbytes for level in features)


def test_boxes_go_to_the_frame_and_back() -> None:
    frame = View((96, 160), (1.0, 1.0), None)
    view = View((192, 240), (1.5, 2.0), "horizontal")
    boxes = torch.tensor([[10.0, 20.0, 30.0, 60.0]])  # left, top, right, bottom
    there = from_frame(boxes, view, frame)
    assert there.tolist() == [[240 - 45.0, 40.0, 240 - 15.0, 120.0]]
    torch.testing.assert_close(to_frame(there, view, frame), boxes)


def test_candidates_are_pairs_of_proposal_and_class() -> None:
    scores = torch.tensor([[0.6, 0.3, 0.1], [0.05, 0.06, 0.89]])
    boxes = torch.arange(16.0).view(2, 8)
    found = above_threshold(boxes, scores, 0.05)  # one equal to the threshold stays out, as in mmdet
    assert found.bboxes.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [12, 13, 14, 15]]
    assert found.labels.tolist() == [0, 1, 1]
    assert above_threshold(boxes[:, :4], scores, 0.05).bboxes.tolist() == [[0, 1, 2, 3], [0, 1, 2, 3], [8, 9, 10, 11]]
    assert len(above_threshold(boxes[:0, :4], scores[:0], 0.05)) == 0


def test_what_it_cannot_test_is_refused() -> None:
    model = build("mask_rcnn")
    with pytest.raises(DensebenchError, match=r"takes all views of an image.*scales="):
        TwoPassMultiScaleDetection(module=model).test_step(batch_of([image_of(64, 64)], {"scale": (64, 64)}))

    class RescoredRoIHead(type(model.roi_head)):
        pass

    model.roi_head.__class__ = RescoredRoIHead
    with pytest.raises(DensebenchError, match="not MaskRCNN with RescoredRoIHead"):
        TwoPassMultiScaleDetection(module=model)

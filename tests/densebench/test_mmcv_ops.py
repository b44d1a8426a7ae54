"""Each operator through mmcv's public functions: values against plain references, gradients by gradcheck."""

from __future__ import annotations

import importlib.util
import math
import pkgutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torchvision
from torch import Tensor
from torch.autograd import gradcheck

from densebench import mmcv_ops
from densebench.errors import DensebenchError

mmcv_ops.install()

import mmcv  # noqa: E402
import mmcv.ops  # noqa: E402  needs the operators installed

if mmcv_ops.operator_source() == "compiled":
    pytest.skip("mmcv has compiled operators, ours are not in use", allow_module_level=True)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


# --- the module ---


def test_a_second_install_keeps_the_module() -> None:
    first = sys.modules["mmcv._ext"]
    mmcv_ops.install()
    assert sys.modules["mmcv._ext"] is first
    assert mmcv_ops.operator_source() == "torchvision"


def test_the_module_is_found_by_its_spec() -> None:
    spec = importlib.util.find_spec("mmcv._ext")
    assert spec is not None and spec.name == "mmcv._ext"
    assert pkgutil.find_loader("mmcv._ext") is not None  # as mmcv.utils.ext_loader.check_ops_exist asks
    assert not hasattr(sys.modules["mmcv._ext"], "__path__")
    assert not hasattr(sys.modules["mmcv._ext"], "__file__")


def test_a_missing_operator_is_named_with_those_provided() -> None:
    with pytest.raises(DensebenchError, match=r"'bbox_overlaps' is not available.* nms, .*softnms"):
        mmcv.ops.bbox_overlaps(torch.rand(2, 4), torch.rand(3, 4))


def test_the_environment_summary_says_which_operators_run() -> None:
    assert "densebench" in mmcv.ops.get_compiler_version()
    assert mmcv.ops.get_compiling_cuda_version() == (torch.version.cuda or "not available")


def test_a_compiled_module_that_can_be_imported_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "_ext.py").write_text("compiled = True\n")
    monkeypatch.setattr(mmcv, "__path__", [*mmcv.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "mmcv._ext")
    mmcv_ops.install()
    assert "mmcv._ext" not in sys.modules
    assert mmcv_ops.operator_source() == "compiled"


def test_a_compiled_module_that_is_loaded_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = ModuleType("mmcv._ext")
    monkeypatch.setitem(sys.modules, "mmcv._ext", compiled)
    mmcv_ops.install()
    assert sys.modules["mmcv._ext"] is compiled
    assert mmcv_ops.operator_source() == "compiled"


def test_without_any_operators_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "mmcv._ext")
    with pytest.raises(DensebenchError, match=r"Call densebench\.mmcv_ops\.install\(\)"):
        mmcv_ops.operator_source()


def test_mmdet_and_mmseg_register_all_their_models() -> None:
    program = """
import sys
from densebench import mmcv_ops
assert not {"torch", "torchvision", "mmcv"} & set(sys.modules), "importing densebench.mmcv_ops is not light"
mmcv_ops.install()
assert "torchvision" not in sys.modules, "installing imports torchvision"
import mmcv.ops, mmdet.models, mmseg.models, mmdet.utils, mmengine.registry
mmdet.utils.register_all_modules()
assert mmdet.models.layers.bbox_nms.batched_nms is mmcv.ops.batched_nms
roi_layer = {"type": "RoIAlign", "output_size": 7}
extractor = {"type": "SingleRoIExtractor", "roi_layer": roi_layer, "out_channels": 8, "featmap_strides": [4]}
mmengine.registry.MODELS.build({**extractor, "_scope_": "mmdet"})
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


# --- suppression ---


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("iou_threshold", [0.2, 0.6])
def test_nms_keeps_what_the_reference_keeps(offset: int, iou_threshold: float) -> None:
    boxes, scores = _random_detections(60)
    dets, kept = mmcv.ops.nms(boxes, scores, iou_threshold, offset=offset)
    assert kept.tolist() == _nms_reference(boxes, scores, iou_threshold, offset)
    torch.testing.assert_close(dets, torch.cat((boxes[kept], scores[kept, None]), dim=1))


def test_nms_offset_decides_at_the_threshold() -> None:
    # IoU 4 / 9, and 5 / 10 where the last pixels count
    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 9.0, 4.0]])
    scores = torch.tensor([0.9, 0.8])
    assert len(mmcv.ops.nms(boxes, scores, 0.47, offset=0)[1]) == 2
    assert len(mmcv.ops.nms(boxes, scores, 0.47, offset=1)[1]) == 1


def test_nms_of_nothing_is_nothing() -> None:
    dets, kept = mmcv.ops.nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert dets.shape == (0, 5) and kept.shape == (0,)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_nms_takes_half_precision(dtype: torch.dtype) -> None:
    boxes = torch.tensor([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]], dtype=dtype)
    dets, kept = mmcv.ops.nms(boxes, torch.tensor([0.5, 0.75, 0.25]), 0.5)
    assert kept.tolist() == [1, 2]
    dets, kept = mmcv.ops.soft_nms(boxes, torch.tensor([0.5, 0.75, 0.25], dtype=dtype), 0.5)
    assert kept.tolist() == [1, 2, 0] and dets.dtype == dtype


def test_batched_nms_suppresses_within_a_class_only() -> None:
    boxes, scores = _random_detections(60)
    classes = torch.arange(60) % 3
    dets, kept = mmcv.ops.batched_nms(boxes, scores, classes, {"type": "nms", "iou_threshold": 0.4})
    expected: list[int] = []
    for label in range(3):
        members = (classes == label).nonzero().flatten()
        expected += members[_nms_reference(boxes[members], scores[members], 0.4, 0)].tolist()
    assert kept.tolist() == sorted(expected, key=lambda index: -float(scores[index]))
    torch.testing.assert_close(dets, torch.cat((boxes[kept], scores[kept, None]), dim=1))


def test_batched_soft_nms_runs_from_a_config() -> None:
    boxes, scores = _random_detections(20)
    config = {"type": "soft_nms", "iou_threshold": 0.5, "min_score": 0.05}
    dets, kept = mmcv.ops.batched_nms(boxes, scores, torch.arange(20) % 2, config)
    torch.testing.assert_close(dets[:, :4], boxes[kept])
    assert (dets[:, 4] <= scores[kept] + 1e-6).all()


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("method", ["naive", "linear", "gaussian"])
def test_soft_nms_lowers_scores_as_in_the_paper(method: str, offset: int) -> None:
    boxes, scores = _random_detections(40)
    dets, kept = mmcv.ops.soft_nms(boxes, scores, 0.3, 0.4, 0.05, method, offset)
    expected = _soft_nms_reference(boxes.tolist(), scores.tolist(), 0.3, 0.4, 0.05, method, offset)
    assert kept.tolist() == [index for index, _ in expected]
    torch.testing.assert_close(dets[:, 4], torch.tensor([score for _, score in expected]))
    torch.testing.assert_close(dets[:, :4], boxes[kept])


def test_soft_nms_keeps_empty_boxes_apart() -> None:
    boxes = torch.tensor([[3.0, 1.0, 3.0, 1.0]] * 3)
    for method in ("naive", "linear", "gaussian"):
        dets, kept = mmcv.ops.soft_nms(boxes, torch.tensor([0.5, 0.9, 0.7]), method=method)
        assert kept.tolist() == [1, 2, 0]
        torch.testing.assert_close(dets[:, 4], torch.tensor([0.9, 0.7, 0.5]))


# --- regions ---

ROIS = [
    [0, 1.3, 2.1, 9.7, 8.2],
    [1, -4.0, -3.0, 5.5, 6.5],  # reaches out of the image on the left and the top
    [1, 8.2, 9.1, 30.0, 25.0],  # and on the right and the bottom
    [0, 4.0, 4.0, 4.5, 4.25],  # less than a pixel
    [0, 40.0, 40.0, 50.0, 50.0],  # outside
]


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("pool_mode", ["avg", "max"])
def test_roi_align_matches_the_reference(pool_mode: str, sampling_ratio: int, aligned: bool) -> None:
    features, rois = torch.randn(2, 3, 9, 11, dtype=torch.float64), torch.tensor(ROIS, dtype=torch.float64)
    layer = mmcv.ops.RoIAlign((2, 3), 0.5, sampling_ratio, pool_mode, aligned)
    expected = _roi_align_reference(features, rois, (2, 3), 0.5, sampling_ratio, pool_mode, aligned)
    torch.testing.assert_close(layer(features, rois), expected)
    one_channel = features[:, :1].clone().requires_grad_()
    assert gradcheck(lambda x: layer(x, rois), one_channel)


@pytest.mark.parametrize("aligned", [True, False])
def test_average_roi_align_is_torchvisions(aligned: bool) -> None:
    features, rois = torch.randn(2, 3, 9, 11), torch.tensor(ROIS)
    expected = torchvision.ops.roi_align(features, rois, (7, 7), 0.25, 0, aligned)
    torch.testing.assert_close(mmcv.ops.roi_align(features, rois, (7, 7), 0.25, 0, "avg", aligned), expected)


def test_the_argmax_of_roi_align_is_the_sample() -> None:
    features = torch.zeros(1, 1, 8, 8)
    features[0, 0, 5, 3] = 1.0
    output, argmax_y, argmax_x = (torch.empty(2, 1, 1, 1) for _ in range(3))
    rois = torch.tensor([[0.0, 2.0, 2.0, 7.0, 7.0], [0.0, 3.0, 3.0, 3.0, 3.0]])  # the second is empty
    sys.modules["mmcv._ext"].roi_align_forward(
        features,
        rois,
        output,
        argmax_y,
        argmax_x,
        aligned_height=1,
        aligned_width=1,
        spatial_scale=1.0,
        sampling_ratio=0,
        pool_mode=0,
        aligned=True,
    )
    assert output.flatten().tolist() == [1.0, 0.0]
    assert argmax_y.flatten().tolist() == [5.0, -1.0]  # samples at 2, 3, 4, 5, 6
    assert argmax_x.flatten().tolist() == [3.0, -1.0]


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_roi_pool_matches_the_reference(scale: float) -> None:
    features, rois = torch.randn(2, 3, 9, 11, dtype=torch.float64), torch.tensor(ROIS, dtype=torch.float64)
    layer = mmcv.ops.RoIPool((2, 3), scale)
    torch.testing.assert_close(layer(features, rois), _roi_pool_reference(features, rois, (2, 3), scale))
    one_channel = features[:, :1].clone().requires_grad_()
    assert gradcheck(lambda x: layer(x, rois), one_channel)


def test_roi_pool_is_torchvisions_on_whole_pixels() -> None:
    features = torch.randn(2, 3, 9, 11)
    rois = torch.tensor([[0.0, 1, 2, 8, 7], [1.0, 0, 0, 10, 8], [1.0, -3, -2, 5, 20], [0.0, 3, 3, 3, 3]])
    expected, expected_argmax = torch.ops.torchvision.roi_pool(features, rois, 1.0, 3, 2)
    output, argmax = torch.empty_like(expected), torch.empty_like(expected_argmax)
    sys.modules["mmcv._ext"].roi_pool_forward(
        features, rois, output, argmax, pooled_height=3, pooled_width=2, spatial_scale=1.0
    )
    torch.testing.assert_close(output, expected)
    assert torch.equal(argmax, expected_argmax)


def test_a_turned_region_pools_to_zero_without_gradient() -> None:
    features = torch.randn(1, 1, 9, 9, requires_grad=True)
    pooled = mmcv.ops.RoIPool(2)(features, torch.tensor([[0.0, 6.0, 2.0, 2.0, 6.0]]))
    pooled.sum().backward()
    assert pooled.abs().sum() == 0
    assert features.grad is not None and features.grad.abs().sum() == 0


@pytest.mark.parametrize("kind", ["avg", "max", "pool"])
def test_no_regions_give_no_features(kind: str) -> None:
    layer = mmcv.ops.RoIPool(2) if kind == "pool" else mmcv.ops.RoIAlign(2, pool_mode=kind)
    features = torch.randn(1, 3, 9, 9, requires_grad=True)
    pooled = layer(features, torch.zeros(0, 5))
    pooled.sum().backward()
    assert pooled.shape == (0, 3, 2, 2)
    assert features.grad is not None and features.grad.abs().sum() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("pool_mode", ["avg", "max"])
def test_roi_align_computes_half_precision_in_full(pool_mode: str, dtype: torch.dtype) -> None:
    features = torch.randn(1, 3, 9, 9, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
    rois = torch.tensor([[0, 1, 1, 6, 7]], dtype=dtype)
    layer = mmcv.ops.RoIAlign(2, pool_mode=pool_mode)
    with torch.autocast("cpu", dtype):
        pooled = layer(features, rois)
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled, layer(features.float(), rois.float()).to(dtype))
    pooled.sum().backward()
    assert features.grad is not None and features.grad.dtype == dtype


# --- focal loss ---


def test_sigmoid_focal_loss_is_torchvisions() -> None:
    logits, target = torch.randn(7, 3) * 4, torch.tensor([0, 1, 2, 3, 3, 1, 0])  # 3 is background
    one_hot = torch.nn.functional.one_hot(target, 4)[:, :3].float()
    for reduction in ("none", "sum"):
        expected = torchvision.ops.sigmoid_focal_loss(logits, one_hot, 0.3, 1.5, reduction)
        loss = mmcv.ops.sigmoid_focal_loss(logits, target, 1.5, 0.3, None, reduction)
        torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("reduction", ["none", "mean"])
@pytest.mark.parametrize("gamma", [0.0, 2.0])
@pytest.mark.parametrize("weight", [[], [0.5, 1.0, 3.0]])
def test_the_gradient_of_sigmoid_focal_loss(gamma: float, weight: list[float], reduction: str) -> None:
    logits = (torch.randn(5, 3, dtype=torch.float64) * 3).requires_grad_()
    target = torch.tensor([0, 1, 2, 3, 1])
    settings = (target, gamma, 0.25, torch.tensor(weight, dtype=torch.float64) if weight else None, reduction)
    assert gradcheck(lambda x: mmcv.ops.sigmoid_focal_loss(x, *settings), logits)


def test_sigmoid_focal_loss_weighs_by_the_class_of_the_row() -> None:
    logits, target = torch.randn(3, 2), torch.tensor([1, 0, 2])
    plain = mmcv.ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, None, "none")
    weighed = mmcv.ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, torch.tensor([3.0, 5.0]), "none")
    torch.testing.assert_close(weighed, plain * torch.tensor([[5.0], [3.0], [1.0]]))  # background: 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_sigmoid_focal_loss_is_finite_at_extreme_logits(dtype: torch.dtype) -> None:
    logits = torch.tensor([[-200.0, 200.0], [200.0, -200.0]], dtype=dtype, requires_grad=True)
    loss = mmcv.ops.sigmoid_focal_loss(logits, torch.tensor([0, 0]), 2.0, 0.25, None, "none")
    torch.testing.assert_close(loss, torch.tensor([[50.0, 150.0], [0.0, 0.0]], dtype=dtype))
    loss.sum().backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[-0.25, 0.75], [0.0, 0.0]], dtype=dtype))


# --- deformable convolution ---

# stride, padding, dilation, groups, deform_groups
GEOMETRIES = [(1, 1, 1, 1, 1), ((2, 1), (1, 2), (1, 2), 2, 1), (1, 0, 1, 1, 2), (2, 1, 1, 2, 2)]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("modulated", [False, True])
def test_deformable_convolution_is_torchvisions(modulated: bool, geometry: tuple) -> None:
    layer, inputs = _deformable_layer(modulated, geometry)
    expected = torchvision.ops.deform_conv2d(
        inputs[0],
        inputs[1],
        layer.weight,
        layer.bias if modulated else None,
        *geometry[:3],
        mask=inputs[2] if modulated else None,
    )
    torch.testing.assert_close(layer(*inputs), expected)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("modulated", [False, True])
def test_the_gradient_of_deformable_convolution(modulated: bool, geometry: tuple) -> None:
    layer, inputs = _deformable_layer(modulated, geometry)
    convolve = mmcv.ops.modulated_deform_conv2d if modulated else mmcv.ops.deform_conv2d
    assert gradcheck(lambda *tensors: convolve(*tensors, *geometry), (*inputs, *layer.parameters()))


@pytest.mark.parametrize("modulated", [False, True])
def test_without_offsets_it_is_a_convolution(modulated: bool) -> None:
    layer, (features, offset, *mask) = _deformable_layer(modulated, (1, 1, 1, 2, 1))
    output = layer(features, torch.zeros_like(offset), *(torch.ones_like(tensor) for tensor in mask))
    bias = layer.bias if modulated else None
    expected = torch.nn.functional.conv2d(features, layer.weight, bias, padding=1, groups=2)
    torch.testing.assert_close(output, expected)


def test_modulated_convolution_without_bias() -> None:
    layer = mmcv.ops.ModulatedDeformConv2d(2, 4, 3, padding=1, bias=False)
    features = torch.randn(1, 2, 5, 5)
    layer(features, torch.zeros(1, 18, 5, 5), torch.ones(1, 9, 5, 5)).sum().backward()
    assert layer.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_deformable_convolution_under_autocast(dtype: torch.dtype) -> None:
    layer = mmcv.ops.ModulatedDeformConv2dPack(2, 4, 3, padding=1)
    with torch.autocast("cpu", dtype):
        output = layer(torch.randn(1, 2, 5, 5))
    assert output.dtype == dtype
    output.sum().backward()
    assert layer.weight.grad.dtype == layer.conv_offset.weight.grad.dtype == torch.float32


# --- references, written for clarity and not for speed ---


def _random_detections(count: int) -> tuple[Tensor, Tensor]:
    corner = torch.rand(count, 2) * 40
    return torch.cat((corner, corner + 1 + torch.rand(count, 2) * 30), dim=1), torch.rand(count)


def _iou(a: Sequence[float], b: Sequence[float], offset: int) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + offset)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + offset)
    areas = [(box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def _nms_reference(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> list[int]:
    kept: list[int] = []
    for index in scores.argsort(descending=True).tolist():
        if all(_iou(boxes[index].tolist(), boxes[k].tolist(), offset) <= iou_threshold for k in kept):
            kept.append(index)
    return kept


def _soft_nms_reference(
    boxes: list, scores: list, iou_threshold: float, sigma: float, min_score: float, method: str, offset: int
) -> list[tuple[int, float]]:
    """The paper's figure 2: (index, final score), in the order in which they are moved from B to D."""
    scores = list(scores)
    waiting, done = set(range(len(boxes))), []
    while waiting:
        best = max(waiting, key=lambda index: scores[index])
        waiting.remove(best)
        done.append((best, scores[best]))
        for index in list(waiting):
            overlap = _iou(boxes[best], boxes[index], offset)
            if method == "gaussian":
                scores[index] *= math.exp(-overlap * overlap / sigma)
            elif overlap >= iou_threshold:
                scores[index] *= 1 - overlap if method == "linear" else 0
            if scores[index] < min_score:
                waiting.remove(index)
    return done


def _roi_align_reference(
    features: Tensor,
    rois: Tensor,
    size: tuple[int, int],
    scale: float,
    sampling_ratio: int,
    pool_mode: str,
    aligned: bool,
) -> Tensor:
    output = features.new_zeros(len(rois), features.shape[1], *size)
    for k, (image, *box) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (side * scale - (0.5 if aligned else 0) for side in box)
        width, height = x2 - x1, y2 - y1
        if not aligned:
            width, height = max(width, 1.0), max(height, 1.0)
        rows = sampling_ratio or math.ceil(height / size[0])
        columns = sampling_ratio or math.ceil(width / size[1])
        for i in range(size[0]):
            for j in range(size[1]):
                ys = [y1 + (i + (row + 0.5) / rows) * height / size[0] for row in range(rows)]
                xs = [x1 + (j + (column + 0.5) / columns) * width / size[1] for column in range(columns)]
                samples = torch.stack([_bilinear(features[int(image)], y, x) for y in ys for x in xs])
                output[k, :, i, j] = samples.mean(dim=0) if pool_mode == "avg" else samples.amax(dim=0)
    return output


def _bilinear(image: Tensor, y: float, x: float) -> Tensor:
    """The value (C,) of an image (C, H, W) at a point; beyond one pixel outside 0."""
    height, width = image.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return image.new_zeros(len(image))
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    value = image.new_zeros(len(image))
    for row in range(height):
        for column in range(width):
            value += image[:, row, column] * max(0.0, 1 - abs(y - row)) * max(0.0, 1 - abs(x - column))
    return value


def _roi_pool_reference(features: Tensor, rois: Tensor, size: tuple[int, int], scale: float) -> Tensor:
    output = features.new_zeros(len(rois), features.shape[1], *size)
    for k, (image, x1, y1, x2, y2) in enumerate(rois.tolist()):
        bin_height, bin_width = ((y2 + 1 - y1) * scale / size[0], (x2 + 1 - x1) * scale / size[1])
        for i in range(size[0]):
            for j in range(size[1]):
                top, left = math.floor(i * bin_height + y1 * scale), math.floor(j * bin_width + x1 * scale)
                bottom = math.ceil((i + 1) * bin_height + y1 * scale)
                right = math.ceil((j + 1) * bin_width + x1 * scale)
                pixels = features[int(image), :, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
                if pixels.numel():
                    output[k, :, i, j] = pixels.amax(dim=(1, 2))
    return output


def _deformable_layer(modulated: bool, geometry: tuple) -> tuple[torch.nn.Module, list[Tensor]]:
    """A 3 x 2 convolution of 4 to 6 channels in double precision, and random inputs with gradients."""
    stride, padding, dilation, groups, deform_groups = geometry
    layer_type = mmcv.ops.ModulatedDeformConv2d if modulated else mmcv.ops.DeformConv2d
    layer = layer_type(
        4, 6, (3, 2), stride, padding, dilation, groups=groups, deform_groups=deform_groups, bias=modulated
    ).double()
    if modulated:
        torch.nn.init.normal_(layer.bias)
    features = torch.randn(2, 4, 6, 5, dtype=torch.float64)
    plain = torch.nn.Conv2d(4, 6, (3, 2), stride, padding, dilation, dtype=torch.float64)
    height, width = plain(features).shape[2:]
    offset = torch.randn(2, deform_groups * 3 * 2 * 2, height, width, dtype=torch.float64)
    mask = torch.rand(2, deform_groups * 3 * 2, height, width, dtype=torch.float64)
    inputs = [features, offset, mask] if modulated else [features, offset]
    return layer, [tensor.requires_grad_() for tensor in inputs]

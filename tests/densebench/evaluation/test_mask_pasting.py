"""Pasting and encoding in one: the run lengths are those of mmdet's paste and pycocotools' encode."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pycocotools import mask as run_lengths
from torch.nn import functional

import densebench.registration_detection  # noqa: F401
from densebench.evaluation.mask_pasting import paste_and_encode

HEIGHT, WIDTH = 200, 301


def pasted(probabilities: torch.Tensor, boxes: torch.Tensor, height: int, width: int, threshold: float) -> list[dict]:
    """mmdet's way: one by one into a full image."""
    from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask

    masks: NDArray[np.uint8] = np.zeros((height, width, len(boxes)), np.uint8, order="F")
    for index in range(len(boxes)):
        values, place = _do_paste_mask(probabilities[index : index + 1, None], boxes[index : index + 1], height, width)
        masks[(*place, index)] = (values[0] >= threshold).numpy()
    return run_lengths.encode(masks)


def blobs(number: int, seed: int) -> torch.Tensor:
    """Smooth probabilities (number, 28, 28), sharpened as a trained mask head's."""
    noise = torch.randn(number, 1, 7, 7, generator=torch.Generator().manual_seed(seed))
    return functional.interpolate(noise, size=(28, 28), mode="bicubic")[:, 0].mul(6).sigmoid()


def boxes(number: int, seed: int) -> torch.Tensor:
    """Of all sizes, some over the image's edges."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(number, 2, generator=generator) * torch.tensor([WIDTH, HEIGHT])
    half = torch.rand(number, 2, generator=generator).pow(2) * 150
    return torch.cat([centre - half, centre + half], dim=1)


@pytest.mark.parametrize("threshold", [0.5, 0.31])
@pytest.mark.parametrize("kind", ["blobs", "noise", "binary", "flat"])
def test_equal_to_the_paste_of_mmdet(kind: str, threshold: float) -> None:
    probabilities = {
        "blobs": blobs(60, 0),
        "noise": torch.rand(60, 28, 28, generator=torch.Generator().manual_seed(1)),
        # Binary masks are at 0.5 exactly where a pixel lies halfway, flat ones at the threshold everywhere.
        "binary": (blobs(60, 2) > 0.5).float(),
        "flat": torch.full((60, 28, 28), threshold),
    }[kind]
    corners = boxes(60, 3)
    corners[30:] = corners[30:].round()
    found = paste_and_encode(probabilities, corners, HEIGHT, WIDTH, threshold)
    assert found == pasted(probabilities, corners, HEIGHT, WIDTH, threshold)
    assert sum(int(area) for area in run_lengths.area(found)) > 1000


def test_boxes_at_the_edges_and_without_extent() -> None:
    corners = torch.tensor(
        [
            [0, 0, WIDTH, HEIGHT],  # the whole image, first pixel and last
            [-20, -20, WIDTH + 20, HEIGHT + 20],
            [0, 0, 1, 1],
            [WIDTH - 1, HEIGHT - 1, WIDTH, HEIGHT],
            [50, 50, 50, 90],
            [50.5, 50.5, 50.5, 50.5],
            [WIDTH, HEIGHT, WIDTH, HEIGHT],
            [10.25, 0, 12.5, HEIGHT],  # full columns: runs go on from one column into the next
        ],
        dtype=torch.float32,
    )
    ones = torch.ones(len(corners), 28, 28)
    found = paste_and_encode(ones, corners, HEIGHT, WIDTH, 0.5)
    assert found == pasted(ones, corners, HEIGHT, WIDTH, 0.5)
    assert int(run_lengths.area(found[1])) == WIDTH * HEIGHT and int(run_lengths.area(found[7])) > 2 * HEIGHT - 1


def test_other_sizes_of_masks_and_no_mask() -> None:
    probabilities = torch.rand(5, 14, 20, generator=torch.Generator().manual_seed(4))
    corners = boxes(5, 5)
    expected = pasted(probabilities, corners, HEIGHT, WIDTH, 0.5)
    assert paste_and_encode(probabilities.numpy(), corners.numpy(), HEIGHT, WIDTH, 0.5) == expected
    assert paste_and_encode(torch.zeros(0, 28, 28), torch.zeros(0, 4), HEIGHT, WIDTH, 0.5) == []


def test_a_threshold_that_all_of_the_image_reaches_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        paste_and_encode(torch.ones(1, 28, 28), torch.tensor([[0.0, 0, 9, 9]]), 10, 10, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("capability", ["default", "avx2"])
def test_equal_whatever_torch_rounds(capability: str) -> None:
    """torch picks its kernels by the processor; with and without fused multiply-adds their last bits differ."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", __file__]
    environment = os.environ | {"ATEN_CPU_CAPABILITY": capability}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout

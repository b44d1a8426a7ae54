"""The mask head whose tests give run lengths: those of mmdet's head, whatever the stage that asks."""

from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from pycocotools import mask as run_lengths

import densebench.registration_detection  # noqa: F401
from densebench.evaluation.mask_head import FCNMaskHead, RunLengthMaskHead

META = {"scale_factor": (1.6, 1.6), "ori_shape": (90, 120)}


def predicted(head_class: type, rescale: bool, activated: bool, agnostic: bool, number: int = 12) -> InstanceData:
    torch.manual_seed(0)
    head = head_class(
        num_convs=1, in_channels=8, conv_out_channels=8, num_classes=3, class_agnostic=agnostic,
        loss_mask={"type": "CrossEntropyLoss", "use_mask": True, "loss_weight": 1.0},
    )  # fmt: skip
    found = InstanceData()
    corners = torch.rand(number, 2, 2) * torch.tensor([192.0, 144])
    found.bboxes = torch.cat([corners.amin(1), corners.amax(1) + 2], dim=1)
    found.labels, found.scores = torch.arange(number) % 3, torch.ones(number)
    logits = head(torch.randn(number, 8, 14, 14) * 30)
    maps = logits.detach().sigmoid() if activated else logits.detach()
    (result,) = head.predict_by_feat(
        [maps], [found], [META], ConfigDict(mask_thr_binary=0.5), rescale=rescale, activate_map=activated
    )
    return result


@pytest.mark.parametrize("activated", [False, True])
@pytest.mark.parametrize("agnostic", [False, True])
def test_run_lengths_are_those_of_the_pictures(activated: bool, agnostic: bool) -> None:
    ours = predicted(RunLengthMaskHead, True, activated, agnostic)
    theirs = predicted(FCNMaskHead, True, activated, agnostic)
    pictures = theirs.masks.numpy().transpose(1, 2, 0).astype(np.uint8)
    assert ours.masks == run_lengths.encode(np.asfortranarray(pictures)) and pictures.any()
    torch.testing.assert_close(ours.bboxes, theirs.bboxes, rtol=0, atol=0)
    kept = ours[torch.tensor([3, 1])]  # as detectors choose among their detections
    assert kept.masks == [ours.masks[3], ours.masks[1]]


def test_masks_at_the_input_size_stay_pictures() -> None:
    ours, theirs = (predicted(head, False, False, False).masks for head in (RunLengthMaskHead, FCNMaskHead))
    assert ours.shape == (12, 144, 192) and torch.equal(ours, theirs)


def test_no_detection_and_the_same_parameters() -> None:
    assert len(predicted(RunLengthMaskHead, True, False, False, number=0).masks) == 0
    heads: list[Any] = [head(num_convs=1, num_classes=3) for head in (RunLengthMaskHead, FCNMaskHead)]
    assert heads[0].state_dict().keys() == heads[1].state_dict().keys()

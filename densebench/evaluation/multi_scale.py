"""Multi-scale testing of segmentors with one running sum of probabilities."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseTTAModel
from mmengine.registry import MODELS
from mmengine.structures import PixelData


@MODELS.register_module()
class StreamingMultiScaleTest(BaseTTAModel):
    """Averages the class probabilities of all views at the original size, a view at a time.

    The protocol of the papers' code (mmsegmentation 0.x, `aug_test`): every view's logits are resized to the original
    image and flipped back, the softmax is averaged, the argmax taken once. mmengine's own loop keeps the logits of
    all views until the end; here memory is that of one view and one sum.
    """

    def test_step(self, data: dict[str, Any]) -> list[Any]:
        """One batch of views, `inputs[view][image]`, to one prediction per image."""
        totals: list[torch.Tensor] = []
        samples: list[Any] = []
        num_views = len(data["inputs"])
        for view in range(num_views):
            predictions = self.module.test_step({key: value[view] for key, value in data.items()})
            for index, prediction in enumerate(predictions):
                # In fp32 under a test loop's autocast too: a sum in bfloat16 would lose the smaller views.
                probabilities = prediction.seg_logits.data.float().softmax(dim=0)  # (classes, H, W)
                if view == 0:
                    totals.append(probabilities)
                    samples.append(prediction)
                else:
                    totals[index] += probabilities
        for sample, total in zip(samples, totals, strict=True):
            del sample.seg_logits
            sample.pred_sem_seg = PixelData(data=total.argmax(dim=0, keepdim=True))  # (1, H, W)
        return samples

    def merge_preds(self, data_samples_list: list[Any]) -> list[Any]:
        """Not used: `test_step` merges as it goes."""
        raise NotImplementedError("StreamingMultiScaleTest merges in test_step")

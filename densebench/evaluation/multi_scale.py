"""Testing of segmentors with one running sum of probabilities, block by block."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseTTAModel
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from torch import Tensor

from densebench.errors import DensebenchError
from densebench.evaluation.view_scores import ViewScores, view_scores

BYTES_PER_NUMBER = 4


@MODELS.register_module()
class StreamingMultiScaleTest(BaseTTAModel):
    """Averages the class probabilities of all views at the original size, a view at a time.

    The protocol of the papers' code (mmsegmentation 0.x, `aug_test`): every view's logits are resized to the original
    image and flipped back, the softmax is averaged, the argmax taken once. mmengine's own loop keeps the logits of
    all views until the end; here memory is that of one view and one sum, and resized logits are never there as a
    whole. A single view has its argmax taken block by block, without sum and softmax.

    Args:
        max_memory_gb: of the sum and what is kept beside it. Where the sum of the whole image does not fit, the image
            is done in bands of rows; views whose own small scores fit too are kept, the others computed again for
            every band. The network's own memory is not in it. None: the whole sum, always.
    """

    def __init__(self, max_memory_gb: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if max_memory_gb is not None and max_memory_gb <= 0:
            raise DensebenchError(f"--max-memory: expected more than 0 GB, found {max_memory_gb:g}.")
        self.max_bytes = None if max_memory_gb is None else int(max_memory_gb * 1e9)

    @torch.no_grad()
    def test_step(self, data: dict[str, Any]) -> list[Any]:
        """One batch, `inputs[view][image]` or with one view `inputs[image]`, to one prediction per image."""
        inputs, samples = data["inputs"], data["data_samples"]
        if isinstance(inputs[0], Tensor):
            inputs, samples = [inputs], [samples]
        results = []
        for views in zip(zip(*inputs, strict=True), zip(*samples, strict=True), strict=True):
            prediction = self._prediction(list(zip(*views, strict=True)))
            sample = views[1][0]
            sample.pred_sem_seg = PixelData(data=prediction[None])  # (1, H, W)
            results.append(sample)
        return results

    def merge_preds(self, data_samples_list: list[Any]) -> list[Any]:
        """Not used: `test_step` merges as it goes."""
        raise NotImplementedError("StreamingMultiScaleTest merges in test_step")

    def _prediction(self, views: list[tuple[Tensor, Any]]) -> Tensor:
        """Views of one image -> its classes, (H, W)."""
        if len(views) == 1:
            scores = self._scores(*views[0])
            step = scores.rows_at_once
            blocks = (scores.block(row, row + step) for row in range(0, len(scores.rows), step))
            return torch.cat([self._classes(block, is_probability=False) for block in blocks])
        height, width = views[0][1].ori_shape
        row_bytes = width * self.module.num_classes * BYTES_PER_NUMBER
        # Half of what is allowed goes to the sum, half to scores that are kept from band to band.
        band = height if self.max_bytes is None else max(min(self.max_bytes // 2 // row_bytes, height), 1)
        spare = 0 if self.max_bytes is None or band == height else self.max_bytes // 2
        kept: dict[int, ViewScores] = {}
        bands = []
        for first in range(0, height, band):
            last = min(first + band, height)
            total: Tensor | None = None
            for index, view in enumerate(views):
                scores = kept[index] if index in kept else self._scores(*view)
                if index not in kept and scores.num_bytes <= spare:
                    kept[index] = scores
                    spare -= scores.num_bytes
                if total is None:
                    total = scores.maps.new_zeros(last - first, width, scores.maps.shape[2])
                _add_probabilities(total, scores, first)
            assert total is not None
            bands.append(self._classes(total.div_(len(views)), is_probability=True))
        return torch.cat(bands)

    def _classes(self, values: Tensor, is_probability: bool) -> Tensor:
        """(rows, W, channels) scores or mean probabilities -> (rows, W); one channel tells class 1 from class 0."""
        if values.shape[2] > 1:
            return values.argmax(dim=2)
        probability = values if is_probability else values.sigmoid()
        return (probability[:, :, 0] > self.module.decode_head.threshold).long()

    def _scores(self, image: Tensor, sample: Any) -> ViewScores:
        data = self.module.data_preprocessor({"inputs": [image], "data_samples": [sample]}, False)
        return view_scores(self.module, data["inputs"][0], data["data_samples"][0].metainfo)


def _add_probabilities(total: Tensor, scores: ViewScores, first: int) -> None:
    """Add a view's probabilities to the sum (rows, W, channels) that begins with the image's row `first`."""
    for start in range(0, len(total), scores.rows_at_once):
        part = total[start : start + scores.rows_at_once]
        block = scores.block(first + start, first + start + len(part))
        part += block.softmax(dim=2) if block.shape[2] > 1 else block.sigmoid()

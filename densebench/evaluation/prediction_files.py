"""Predictions kept on disk: label pictures in the data set's own encoding, and overlays to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from numpy.typing import NDArray
from PIL import Image

from densebench.data.cityscapes import label_id_of_train_id


class PredictionFilesHook(Hook):
    """Writes each tested image's prediction.

    Args:
        out_dir: 8-bit label pictures, `<image name>.png`, in the encoding of the data set's labels (ADE20K: 1..150), as
            its evaluation server takes them (Cityscapes: label ids, not training classes).
        show_dir: the labels and the prediction side by side over the image, `<image name>.jpg`.
        layout: the layout of the data set, one of densebench.data.layouts.
    """

    def __init__(self, out_dir: Path | None, show_dir: Path | None, layout: str) -> None:
        self.out_dir = out_dir
        self.show_dir = show_dir
        self.label_ids = label_id_of_train_id() if layout == "cityscapes" else None  # (19,)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        """Called with the predictions of one batch."""
        for sample in outputs or ():
            name = Path(sample.img_path).stem
            if self.out_dir is not None:
                labels = sample.pred_sem_seg.data.squeeze(0).cpu().numpy()  # (1, H, W) -> (H, W)
                offset = 1 if sample.metainfo.get("reduce_zero_label") else 0
                values = labels + offset if self.label_ids is None else self.label_ids[labels]
                Image.fromarray(values.astype(np.uint8)).save(_in_folder(self.out_dir, f"{name}.png"))
            if self.show_dir is not None:
                picture = comparison(
                    mmcv.imread(sample.img_path, channel_order="rgb"),
                    sample.gt_sem_seg.data.squeeze(0).cpu().numpy(),
                    sample.pred_sem_seg.data.squeeze(0).cpu().numpy(),
                    runner.test_dataloader.dataset.metainfo["palette"],
                )
                Image.fromarray(picture).save(_in_folder(self.show_dir, f"{name}.jpg"), quality=92)


def comparison(
    image: NDArray[np.uint8], labels: NDArray[Any], prediction: NDArray[Any], palette: Sequence[Sequence[int]]
) -> NDArray[np.uint8]:
    """(H, W, 3) image with its (H, W) labels and prediction -> both overlays side by side, (H, 2 W + 4, 3).

    Pixels without a class (255) show the image in grey. mmseg's visualizer draws through matplotlib, whose canvas
    shifts small images by some pixels; this is exact.
    """
    separator = np.full((len(image), 4, 3), 255, np.uint8)
    return np.concatenate([_overlay(image, labels, palette), separator, _overlay(image, prediction, palette)], axis=1)


def _overlay(image: NDArray[np.uint8], labels: NDArray[Any], palette: Sequence[Sequence[int]]) -> NDArray[np.uint8]:
    grey = image.mean(axis=2, keepdims=True)
    colours = np.zeros((256, 3))
    colours[: len(palette)] = palette
    blended = 0.45 * grey + 0.55 * colours[labels]
    return np.where((labels < len(palette))[..., None], blended, grey).astype(np.uint8)


def _in_folder(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name

"""Detections kept on disk: COCO's format of results, and pictures to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image

from densebench.evaluation.coco_metric import encoded
from densebench.evaluation.coco_results import write_results
from densebench.evaluation.detection_pictures import draw_detections


class DetectionFilesHook(Hook):
    """Writes the detections of a test.

    Args:
        out_dir: `bbox.json` and `segm.json` after the last image, as `densebench.evaluation.coco_results` has them.
        show_dir: each image with its detections drawn over it, `<image name>.jpg`.
    """

    def __init__(self, out_dir: Path | None, show_dir: Path | None) -> None:
        self.out_dir = out_dir
        self.show_dir = show_dir

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        """Called with the predictions of one batch."""
        if self.show_dir is None:
            return
        self.show_dir.mkdir(parents=True, exist_ok=True)
        for sample in outputs or ():
            found = sample.pred_instances
            picture = draw_detections(
                mmcv.imread(sample.img_path, channel_order="rgb"),
                found.bboxes.float().cpu().numpy(),
                found.labels.cpu().numpy(),
                found.scores.float().cpu().numpy(),
                encoded(found.masks) if "masks" in found else (),
                runner.test_dataloader.dataset.metainfo["classes"],
            )
            Image.fromarray(picture).save(self.show_dir / f"{Path(sample.img_path).stem}.jpg", quality=92)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Called after the evaluation, which gathers the detections of all processes in the first."""
        if self.out_dir is not None and runner.rank == 0:
            write_results(runner.test_evaluator.metrics[0].per_image, self.out_dir)

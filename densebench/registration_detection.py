"""As densebench.registration, and what detectors need."""

from __future__ import annotations

import mmdet.models

import densebench.data.detection_dataset
import densebench.evaluation.coco_metric
import densebench.evaluation.mask_head
import densebench.evaluation.multi_scale_detection
import densebench.registration  # first: mmdet loads all of its parts, and mmcv's operators

__all__ = ["densebench", "mmdet"]

"""As densebench.registration, and what detectors need."""

from __future__ import annotations

import densebench.registration  # isort: skip  # first: operators and packages on demand, before mmdet is imported

import mmdet.models

import densebench.data.detection_dataset
import densebench.evaluation.coco_metric
import densebench.evaluation.mask_head
import densebench.evaluation.multi_scale_detection

__all__ = ["densebench", "mmdet"]

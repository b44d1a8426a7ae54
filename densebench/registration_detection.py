"""As densebench.registration, and mmdet with what detectors need; apart from it, for mmdet takes a second to import."""

from __future__ import annotations

from densebench import mmcv_ops

# Before mmdet is imported: it loads mmcv's operators.
mmcv_ops.install()

import mmdet.models  # noqa: E402

import densebench.data.detection_dataset  # noqa: E402
import densebench.evaluation.coco_metric  # noqa: E402
import densebench.evaluation.mask_head  # noqa: E402
import densebench.evaluation.multi_scale_detection  # noqa: E402
import densebench.registration  # noqa: E402

__all__ = ["densebench", "mmdet"]

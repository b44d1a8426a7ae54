"""The methods of each task, and what papers call them; needs no torch, so that reading records stays quick."""

from __future__ import annotations

SEGMENTATION = {"upernet": "UperNet", "deeplabv3plus": "DeepLabV3+"}
DETECTION = {"mask_rcnn": "Mask R-CNN", "cascade_mask_rcnn": "Cascade Mask R-CNN", "fcos": "FCOS"}
TITLES = SEGMENTATION | DETECTION

"""Mask R-CNN tested with soft-NMS (arXiv:1704.04503), as ConvNeXt V2 tests it (appendix A.3)."""

_base_ = ["./mask_rcnn.py"]

model = dict(test_cfg=dict(rcnn=dict(nms=dict(type="soft_nms", iou_threshold=0.5))))

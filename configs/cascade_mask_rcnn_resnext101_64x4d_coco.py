"""Cascade Mask R-CNN + ResNeXt-101-64x4d on COCO, 36 epochs with multi-scale training.

    tools/train.py configs/cascade_mask_rcnn_resnext101_64x4d_coco.py
    tools/test.py configs/cascade_mask_rcnn_resnext101_64x4d_coco.py

Published: 48.3 box AP, 41.7 mask AP (Swin, table 2b, trained by its authors).
Cost: 140 M parameters, 972 G multiply-adds at 1280x800.

No config was released for it. Optimizer, scales and box heads are those of the authors' recipe for Swin, which the
published parameters confirm; the frozen stem, first stage and statistics are those of the base in their repository.
"""

_base_ = ["./_base_/methods/cascade_mask_rcnn.py", "./_base_/datasets/coco.py", "./_base_/schedules/swin_3x.py"]

model = dict(backbone=dict(type="resnext101_64x4d", frozen_stages=1, norm_eval=True))

# OpenMMLab's ImageNet-1K weights; the hash is what stands in the file's name.
pretrained = dict(
    name="in1k",
    url="https://download.openmmlab.com/pretrain/third_party/resnext101_64x4d-ee2c6f71.pth",
    sha256="ee2c6f71",
)

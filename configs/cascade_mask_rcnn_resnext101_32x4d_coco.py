"""Cascade Mask R-CNN + ResNeXt-101-32x4d on COCO, 36 epochs with multi-scale training.

    tools/train.py configs/cascade_mask_rcnn_resnext101_32x4d_coco.py
    tools/test.py configs/cascade_mask_rcnn_resnext101_32x4d_coco.py

Published: 48.1 box AP, 41.6 mask AP (Swin, table 2b, trained by its authors).
Cost: 101 M parameters, 819 G multiply-adds at 1280x800.

No config was released for it. Optimizer, scales and box heads are those of the authors' recipe for Swin, which the
published parameters confirm; the frozen stem, first stage and statistics are those of the base in their repository.
"""

_base_ = ["./_base_/methods/cascade_mask_rcnn.py", "./_base_/datasets/coco.py", "./_base_/schedules/swin_3x.py"]

model = dict(backbone=dict(type="resnext101_32x4d", frozen_stages=1, norm_eval=True))

# OpenMMLab's ImageNet-1K weights; the hash is what stands in the file's name.
pretrained = dict(
    name="in1k",
    url="https://download.openmmlab.com/pretrain/third_party/resnext101_32x4d-a5af3160.pth",
    sha256="a5af3160",
)

"""Cascade Mask R-CNN + ResNeXt-101-32x4d on COCO, 36 epochs with multi-scale training.

    tools/train.py configs/cascade_mask_rcnn_resnext101_32x4d_coco_3x_sgd.py
    tools/test.py configs/cascade_mask_rcnn_resnext101_32x4d_coco_3x_sgd.py

Published: 46.3 box AP, 40.1 mask AP (mmdetection 3.3.0, cascade_rcnn metafile).
Cost (not published; counted here): 95.9 M parameters, 472 G multiply-adds at 1280x800. The authors trained it in fp32.
"""

_base_ = [
    "./_base_/methods/cascade_mask_rcnn_2fc.py",
    "./_base_/datasets/coco_640_800.py",
    "./_base_/schedules/sgd_3x.py",
]

model = dict(backbone=dict(type="resnext101_32x4d", frozen_stages=1, norm_eval=True))

schedule = dict(name="3x_sgd")

# OpenMMLab's ImageNet-1K weights; the hash is what stands in the file's name.
pretrained = dict(
    name="in1k",
    url="https://download.openmmlab.com/pretrain/third_party/resnext101_32x4d-a5af3160.pth",
    sha256="a5af3160",
)

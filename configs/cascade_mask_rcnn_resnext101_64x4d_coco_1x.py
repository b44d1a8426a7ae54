"""Cascade Mask R-CNN + ResNeXt-101-64x4d on COCO, 12 epochs.

    tools/train.py configs/cascade_mask_rcnn_resnext101_64x4d_coco_1x.py
    tools/test.py configs/cascade_mask_rcnn_resnext101_64x4d_coco_1x.py

Published: 45.3 box AP, 39.2 mask AP (mmdetection 3.3.0, cascade_rcnn metafile).
Cost (not published; counted here): 135.2 M parameters, 625 G multiply-adds at 1280x800. The authors trained it in fp32.
"""

_base_ = ["./_base_/methods/cascade_mask_rcnn_2fc.py", "./_base_/datasets/coco_800.py", "./_base_/schedules/sgd_1x.py"]

model = dict(backbone=dict(type="resnext101_64x4d", frozen_stages=1, norm_eval=True))

# OpenMMLab's ImageNet-1K weights; the hash is what stands in the file's name.
pretrained = dict(
    name="in1k",
    url="https://download.openmmlab.com/pretrain/third_party/resnext101_64x4d-ee2c6f71.pth",
    sha256="ee2c6f71",
)

"""Mask R-CNN + ResNeXt-101-32x4d on COCO, 12 epochs.

    tools/train.py configs/mask_rcnn_resnext101_32x4d_coco_1x.py
    tools/test.py configs/mask_rcnn_resnext101_32x4d_coco_1x.py

Published: 41.9 box AP, 37.5 mask AP (mmdetection 3.3.0, mask_rcnn metafile).
Cost (not published; counted here): 63.0 M parameters, 339 G multiply-adds at 1280x800. The authors trained it in fp32.
"""

_base_ = ["./_base_/methods/mask_rcnn.py", "./_base_/datasets/coco_800.py", "./_base_/schedules/sgd_1x.py"]

model = dict(backbone=dict(type="resnext101_32x4d", frozen_stages=1, norm_eval=True))

# OpenMMLab's ImageNet-1K weights; the hash is what stands in the file's name.
pretrained = dict(
    name="in1k",
    url="https://download.openmmlab.com/pretrain/third_party/resnext101_32x4d-a5af3160.pth",
    sha256="a5af3160",
)

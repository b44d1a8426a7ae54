"""Cascade Mask R-CNN + ResNet-101 on COCO, 36 epochs with multi-scale training.

    tools/train.py configs/cascade_mask_rcnn_resnet101_coco.py
    tools/test.py configs/cascade_mask_rcnn_resnet101_coco.py

Published: 45.5 box AP, 39.6 mask AP (mmdetection 3.3.0, cascade_rcnn metafile).
Cost (not published; counted here): 96.3 M parameters, 469 G multiply-adds at 1280x800. The authors trained it in fp32.
"""

_base_ = [
    "./_base_/methods/cascade_mask_rcnn_2fc.py",
    "./_base_/datasets/coco_640_800.py",
    "./_base_/schedules/sgd_3x.py",
]

model = dict(backbone=dict(type="resnet101", frozen_stages=1, norm_eval=True))

# torchvision's ImageNet-1K weights (the first ones, 76 to 79 % top-1); the hash is what stands in the file's name.
pretrained = dict(
    name="in1k",
    url="https://download.pytorch.org/models/resnet101-63fe2227.pth",
    sha256="63fe2227",
)

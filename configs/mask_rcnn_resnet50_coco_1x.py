"""Mask R-CNN + ResNet-50 on COCO, 12 epochs.

    tools/train.py configs/mask_rcnn_resnet50_coco_1x.py
    tools/test.py configs/mask_rcnn_resnet50_coco_1x.py

Published: 38.2 box AP, 34.7 mask AP (mmdetection 3.3.0, mask_rcnn metafile).
Cost (not published; counted here): 44.4 M parameters, 259 G multiply-adds at 1280x800. The authors trained it in fp32.
"""

_base_ = ["./_base_/methods/mask_rcnn.py", "./_base_/datasets/coco_800.py", "./_base_/schedules/sgd_1x.py"]

model = dict(backbone=dict(type="resnet50", frozen_stages=1, norm_eval=True))

# torchvision's ImageNet-1K weights (the first ones, 76 to 79 % top-1); the hash is what stands in the file's name.
pretrained = dict(
    name="in1k",
    url="https://download.pytorch.org/models/resnet50-0676ba61.pth",
    sha256="0676ba61",
)

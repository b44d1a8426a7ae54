"""FCOS + ResNeXt-101-64x4d on COCO, 24 epochs, images of 640 or 800.

    tools/train.py configs/fcos_resnext101_64x4d_coco.py
    tools/test.py configs/fcos_resnext101_64x4d_coco.py

Published: 42.6 box AP (mmdetection 3.3.0, fcos metafile).
Cost (not published; counted here): 90.2 M parameters, 437 G multiply-adds at 1280x800. The authors trained it in fp32.
"""

_base_ = ["./_base_/methods/fcos.py", "./_base_/datasets/coco_640_or_800.py", "./_base_/schedules/fcos_2x.py"]

model = dict(backbone=dict(type="resnext101_64x4d", frozen_stages=1, norm_eval=True))

# OpenMMLab's ImageNet-1K weights; the hash is what stands in the file's name.
pretrained = dict(
    name="in1k",
    url="https://download.openmmlab.com/pretrain/third_party/resnext101_64x4d-ee2c6f71.pth",
    sha256="ee2c6f71",
)

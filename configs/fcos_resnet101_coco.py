"""FCOS + ResNet-101 on COCO, 24 epochs, images of 640 or 800.

    tools/train.py configs/fcos_resnet101_coco.py
    tools/test.py configs/fcos_resnet101_coco.py

Published: 40.8 box AP (mmdetection 3.3.0, fcos metafile).
Cost (not published; counted here): 51.3 M parameters, 276 G multiply-adds at 1280x800. The authors trained it in fp32.

For another backbone take fcos_replknet_31b_coco, whose images are normalized as usual.
"""

_base_ = ["./_base_/methods/fcos.py", "./_base_/datasets/coco_640_or_800.py", "./_base_/schedules/fcos_2x.py"]

model = dict(
    # As the weights want it: BGR, in units of pixel values.
    data_preprocessor=dict(mean=[102.9801, 115.9465, 122.7717], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
    backbone=dict(type="resnet101", stride_in_1x1=True, frozen_stages=1, norm_eval=True, norm_frozen=True),
)

# The original ImageNet-1K weights as Detectron converted them, hosted by OpenMMLab; the hash is what stands in the
# file's name.
pretrained = dict(
    name="in1k",
    url="https://download.openmmlab.com/pretrain/third_party/resnet101_caffe-3ad79236.pth",
    sha256="3ad79236",
)

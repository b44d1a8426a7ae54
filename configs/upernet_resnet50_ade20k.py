"""UperNet + ResNet-50 on ADE20K, 512x512 crops, 160k iterations, mmsegmentation's baseline.

    tools/train.py configs/upernet_resnet50_ade20k.py
    tools/test.py configs/upernet_resnet50_ade20k.py --aug-test

Published: mIoU 42.05 single-scale, 42.78 multi-scale with flip (mmsegmentation 1.2.2). Its cost is not published.
"""

_base_ = ["./_base_/methods/upernet.py", "./_base_/datasets/ade20k.py", "./_base_/schedules/sgd_160k.py"]

# ResNetV1c: three 3x3 convolutions for the 7x7 of the stem.
model = dict(backbone=dict(type="resnet50", deep_stem=True, use_sync_bn=True))

# OpenMMLab's ImageNet-1K weights of this form; the hash is what stands in the file's name.
pretrained = dict(
    name="in1k",
    url="https://download.openmmlab.com/pretrain/third_party/resnet50_v1c-2cccc1ad.pth",
    sha256="2cccc1ad",
)

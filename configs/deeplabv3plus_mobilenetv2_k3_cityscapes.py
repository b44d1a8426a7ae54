"""DeepLabV3+ + MobileNetV2 (the 3x3 baseline of RepLKNet's guidelines) on Cityscapes, 769x769 crops, 80k iterations.

    tools/train.py configs/deeplabv3plus_mobilenetv2_k3_cityscapes.py --pretrained FILE
    tools/test.py configs/deeplabv3plus_mobilenetv2_k3_cityscapes.py

Published: mIoU 72.31 (RepLKNet's journal version, arXiv:2410.08049, table 2c). Cost: not published.

The paper states no more than mmsegmentation's defaults (RepLKNet, sec. 3). Schedule, crop, batch and test protocol are
those of its deeplabv3plus_r50-d8_4xb2-80k_cityscapes-769x769, the output stride of 8 with one dilated block per
stage is that of its mobilenet-v2-d8. The authors' ImageNet weights are not released: name a file with --pretrained.
"""

_base_ = ["./_base_/methods/deeplabv3plus.py", "./_base_/datasets/cityscapes.py", "./_base_/schedules/sgd_80k.py"]

model = dict(
    backbone=dict(type="mobilenetv2_k3"),
    decode_head=dict(align_corners=True),
    auxiliary_head=dict(align_corners=True),
)

test_ss = dict(mode="slide", crop_size=(769, 769), stride=(513, 513))
test_ms = dict(mode="slide", crop_size=(769, 769), stride=(513, 513))

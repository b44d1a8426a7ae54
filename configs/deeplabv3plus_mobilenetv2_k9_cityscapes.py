"""DeepLabV3+ + MobileNetV2 with 9x9 kernels on Cityscapes, 769x769 crops, 80k iterations.

    tools/train.py configs/deeplabv3plus_mobilenetv2_k9_cityscapes.py --pretrained FILE
    tools/test.py configs/deeplabv3plus_mobilenetv2_k9_cityscapes.py

Published: mIoU 76.11 (RepLKNet's journal version, arXiv:2410.08049, table 2b). Cost: not published.
The recipe is that of the 3x3 baseline, whose header says what the paper leaves open.
"""

_base_ = ["./deeplabv3plus_mobilenetv2_k3_cityscapes.py"]

model = dict(backbone=dict(type="mobilenetv2_k9"))

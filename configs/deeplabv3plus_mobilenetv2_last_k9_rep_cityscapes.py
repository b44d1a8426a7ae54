"""DeepLabV3+ + MobileNetV2 with 9x9 kernels in the last stage on Cityscapes, 769x769 crops, 80k iterations.

    tools/train.py configs/deeplabv3plus_mobilenetv2_last_k9_rep_cityscapes.py --pretrained FILE
    tools/test.py configs/deeplabv3plus_mobilenetv2_last_k9_rep_cityscapes.py

Published: mIoU 74.15 (RepLKNet's journal version, arXiv:2410.08049, table 2c). Cost: not published.
Its row does not repeat that the enlarged kernel has a 3x3 one beside it in training, as the guideline's text says.
The recipe is that of the 3x3 baseline, whose header says what the paper leaves open.
"""

_base_ = ["./deeplabv3plus_mobilenetv2_k3_cityscapes.py"]

model = dict(backbone=dict(type="mobilenetv2_last_k9_rep"))

"""Mask R-CNN + Swin-S on COCO, 12 epochs with multi-scale training.

    tools/train.py configs/mask_rcnn_swin_s_coco_1x.py
    tools/test.py configs/mask_rcnn_swin_s_coco_1x.py

Published: 44.8 box AP, 40.9 mask AP (quoted by VMamba, arXiv:2401.10166, among its baselines).
Cost: 69 M parameters, 354 G multiply-adds at 1280x800.

Who trained it does not say how. It is the authors' recipe of 36 epochs, made shorter as theirs with Swin-T is.
"""

_base_ = ["./_base_/methods/mask_rcnn.py", "./_base_/datasets/coco.py", "./_base_/schedules/swin_1x.py"]

model = dict(backbone=dict(type="swin_s", window_size=7, drop_path_rate=0.2))

# The authors' ImageNet-1K weights, as OpenMMLab hosts them for its own recipe; the hash is what stands in the file's
# name.
pretrained = dict(
    name="in1k",
    url="https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/swin/"
    "swin_small_patch4_window7_224_20220317-7ba6d6dd.pth",
    sha256="7ba6d6dd",
)

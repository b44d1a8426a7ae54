"""Mask R-CNN + Swin-B on COCO, 12 epochs with multi-scale training.

    tools/train.py configs/mask_rcnn_swin_b_coco_1x.py
    tools/test.py configs/mask_rcnn_swin_b_coco_1x.py

Published: 46.9 box AP, 42.3 mask AP (quoted by VMamba, arXiv:2401.10166, among its baselines).
Cost: 107 M parameters, 496 G multiply-adds at 1280x800.

Who trained it does not say how. It is the authors' recipe with Swin-T, with the drop path rate of their Cascade Mask
R-CNN with Swin-B.
"""

_base_ = ["./_base_/methods/mask_rcnn.py", "./_base_/datasets/coco.py", "./_base_/schedules/swin_1x.py"]

model = dict(backbone=dict(type="swin_b", window_size=7, drop_path_rate=0.3))

# The authors' ImageNet-1K weights, as OpenMMLab hosts them for its own recipe; the hash is what stands in the file's
# name.
pretrained = dict(
    name="in1k",
    url="https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/swin/"
    "swin_base_patch4_window7_224_20220317-e9b98025.pth",
    sha256="e9b98025",
)

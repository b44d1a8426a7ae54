"""Mask R-CNN + Swin-T on COCO, 36 epochs with multi-scale training.

    tools/train.py configs/mask_rcnn_swin_t_coco.py
    tools/test.py configs/mask_rcnn_swin_t_coco.py

Published: 46.0 box AP, 41.6 mask AP (the authors' repository SwinTransformer/Swin-Transformer-Object-Detection).
Cost: 48 M parameters, 267 G multiply-adds at 1280x800. The authors trained it in fp16; add --amp for that.
"""

_base_ = ["./_base_/methods/mask_rcnn.py", "./_base_/datasets/coco.py", "./_base_/schedules/swin_3x.py"]

model = dict(backbone=dict(type="swin_t", window_size=7, drop_path_rate=0.2))

# The authors' ImageNet-1K weights, as OpenMMLab hosts them for its own recipe; the hash is what stands in the file's
# name.
pretrained = dict(
    name="in1k",
    url="https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/swin/"
    "swin_tiny_patch4_window7_224_20220317-1cdeb081.pth",
    sha256="1cdeb081",
)

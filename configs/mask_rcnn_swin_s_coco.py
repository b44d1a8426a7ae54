"""Mask R-CNN + Swin-S on COCO, 36 epochs with multi-scale training.

    tools/train.py configs/mask_rcnn_swin_s_coco.py
    tools/test.py configs/mask_rcnn_swin_s_coco.py

Published: 48.5 box AP, 43.3 mask AP (the authors' repository SwinTransformer/Swin-Transformer-Object-Detection).
Cost: 69 M parameters, 359 G multiply-adds at 1280x800. The authors trained it in fp16; add --amp for that.
"""

_base_ = ["./_base_/methods/mask_rcnn.py", "./_base_/datasets/coco.py", "./_base_/schedules/swin_3x.py"]

model = dict(backbone=dict(type="swin_s", window_size=7, drop_path_rate=0.2))

# The authors' ImageNet-1K weights, as OpenMMLab hosts them for its own recipe; the hash is what stands in the file's
# name.
pretrained = dict(
    name="in1k",
    url="https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/swin/"
    "swin_small_patch4_window7_224_20220317-7ba6d6dd.pth",
    sha256="7ba6d6dd",
)

"""Cascade Mask R-CNN + Swin-B on COCO, 36 epochs with multi-scale training.

    tools/train.py configs/cascade_mask_rcnn_swin_b_coco.py
    tools/test.py configs/cascade_mask_rcnn_swin_b_coco.py

Published: 51.9 box AP, 45.0 mask AP (the authors' repository SwinTransformer/Swin-Transformer-Object-Detection).
Cost: 145 M parameters, 982 G multiply-adds at 1280x800. The authors trained it in fp16; add --amp for that.

The paper states a drop path rate of 0.2 for all sizes (appendix A2.2), the released config, followed here, 0.3.
"""

_base_ = ["./_base_/methods/cascade_mask_rcnn.py", "./_base_/datasets/coco.py", "./_base_/schedules/swin_3x.py"]

model = dict(backbone=dict(type="swin_b", window_size=7, drop_path_rate=0.3))

# The authors' ImageNet-1K weights, as OpenMMLab hosts them for its own recipe; the hash is what stands in the file's
# name.
pretrained = dict(
    name="in1k",
    url="https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/swin/"
    "swin_base_patch4_window7_224_20220317-e9b98025.pth",
    sha256="e9b98025",
)

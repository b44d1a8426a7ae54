"""Cascade Mask R-CNN + Swin-L on COCO, 36 epochs with multi-scale training, from ImageNet-22K.

    tools/train.py configs/cascade_mask_rcnn_swin_l_coco_in22k.py
    tools/test.py configs/cascade_mask_rcnn_swin_l_coco_in22k.py

Published: 53.9 box AP, 46.7 mask AP (ConvNeXt, table 3, trained by its authors).
Cost: 1382 G multiply-adds at 1280x800.

No config was released for it. ConvNeXt's authors searched learning rate (1e-4 or 2e-4), layer decay (0.7 to 0.95) and
drop path (0.3 to 0.8; appendix A.3); inside the ranges 1e-4, 0.9 and 0.3 are taken, all else from Swin's own recipe.
"""

_base_ = ["./_base_/methods/cascade_mask_rcnn.py", "./_base_/datasets/coco.py", "./_base_/schedules/swin_3x.py"]

model = dict(backbone=dict(type="swin_l", window_size=7, drop_path_rate=0.3))

optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(decay_rate=0.9, decay_type="layer_wise", num_layers=12),
)

# The authors' ImageNet-22K weights, as OpenMMLab hosts them for its own recipe; the hash is what stands in the file's
# name.
pretrained = dict(
    name="in22k",
    url="https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/swin/"
    "swin_large_patch4_window7_224_22k_20220412-aeecf2aa.pth",
    sha256="aeecf2aa",
)

"""Mask R-CNN + ConvNeXt V2-H on COCO, 36 epochs of large-scale jitter, from FCMAE fine-tuned on ImageNet-1K.

    tools/train.py configs/mask_rcnn_convnextv2_huge_coco_fcmae.py
    tools/test.py configs/mask_rcnn_convnextv2_huge_coco_fcmae.py

Published: 55.7 box AP, 48.9 mask AP (ConvNeXt V2, table 6).
Cost: 2525 G multiply-adds at 1280x800.

No config was released for it. The paper (appendix A.3) states batch, epochs, learning rate, weight decay, jitter and
soft-NMS, and ranges that were searched: layer decay 0.9 or 0.95, drop path 0.2 to 0.5. Inside them, the values of
ConvNeXt's own Mask R-CNN are taken: 0.95, 0.4; so are its betas, warm-up and decay of the rate, and the test scale, to
which the published cost belongs. Soft-NMS has mmdetection's settings.
"""

_base_ = ["./_base_/methods/mask_rcnn_soft_nms.py", "./_base_/datasets/coco_lsj.py", "./_base_/schedules/lsj_3x.py"]

model = dict(backbone=dict(type="convnextv2_huge", drop_path_rate=0.4))

optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(decay_rate=0.95, decay_type="layer_wise", num_layers=12),
)

# The authors' ImageNet-1K weights after FCMAE and fine-tuning at 224x224, as OpenMMLab hosts them; the hash is what
# stands in the file's name.
pretrained = dict(
    name="fcmae",
    url="https://download.openmmlab.com/mmclassification/v0/convnext-v2/"
    "convnext-v2-huge_fcmae-pre_3rdparty_in1k_20230104-f795e5b8.pth",
    sha256="f795e5b8",
)

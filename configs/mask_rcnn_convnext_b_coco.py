"""Mask R-CNN + ConvNeXt-B on COCO, 36 epochs of large-scale jitter.

    tools/train.py configs/mask_rcnn_convnext_b_coco.py
    tools/test.py configs/mask_rcnn_convnext_b_coco.py

Published: 50.3 box AP, 44.9 mask AP (ConvNeXt V2, table 6).
Cost: 108 M parameters, 486 G multiply-adds at 1280x800.

No config was released for it. The paper (appendix A.3) states batch, epochs, learning rate, weight decay, jitter and
soft-NMS, and ranges that were searched: layer decay 0.9 or 0.95, drop path 0.2 to 0.5. Inside them, the values of
ConvNeXt's own Mask R-CNN are taken: 0.95, 0.4; so are its betas, warm-up and decay of the rate, and the test scale, to
which the published cost belongs. Soft-NMS has mmdetection's settings.
"""

_base_ = ["./_base_/methods/mask_rcnn_soft_nms.py", "./_base_/datasets/coco_lsj.py", "./_base_/schedules/lsj_3x.py"]

model = dict(backbone=dict(type="convnext_b", drop_path_rate=0.4, layer_scale_init_value=1.0))

optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(decay_rate=0.95, decay_type="layer_wise", num_layers=12),
)

# The authors' final ImageNet-1K weights, not the moving average (sec. 4), as OpenMMLab hosts them for its own recipe;
# the hash is what stands in the file's name.
pretrained = dict(
    name="in1k",
    url="https://download.openmmlab.com/mmclassification/v0/convnext/downstream/"
    "convnext-base_3rdparty_32xb128-noema_in1k_20220301-2a0ee547.pth",
    sha256="2a0ee547",
)

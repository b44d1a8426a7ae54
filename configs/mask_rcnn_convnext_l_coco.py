"""Mask R-CNN + ConvNeXt-L on COCO, 36 epochs of large-scale jitter.

    tools/train.py configs/mask_rcnn_convnext_l_coco.py
    tools/test.py configs/mask_rcnn_convnext_l_coco.py

Published: 50.6 box AP, 45.1 mask AP (ConvNeXt V2, table 6).
Cost: 875 G multiply-adds at 1280x800.

No config was released for it. The paper (appendix A.3) states batch, epochs, learning rate, weight decay, jitter and
soft-NMS, and ranges that were searched: layer decay 0.9 or 0.95, drop path 0.2 to 0.5. Inside them, the values of
ConvNeXt's own Mask R-CNN are taken: 0.95, 0.4; so are its betas, warm-up and decay of the rate, and the test scale, to
which the published cost belongs. Soft-NMS has mmdetection's settings.
"""

_base_ = ["./_base_/methods/mask_rcnn_soft_nms.py", "./_base_/datasets/coco_lsj.py", "./_base_/schedules/lsj_3x.py"]

model = dict(backbone=dict(type="convnext_l", drop_path_rate=0.4, layer_scale_init_value=1.0))

optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(decay_rate=0.95, decay_type="layer_wise", num_layers=12),
)

# The authors' ImageNet-1K weights (the moving average, the only ones released), as OpenMMLab hosts them; the hash is
# what stands in the file's name.
pretrained = dict(
    name="in1k",
    url="https://download.openmmlab.com/mmclassification/v0/convnext/"
    "convnext-large_3rdparty_64xb64_in1k_20220124-f8a0ded0.pth",
    sha256="f8a0ded0",
)

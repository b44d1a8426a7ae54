"""Mask R-CNN + ConvNeXt-S on COCO, 12 epochs with multi-scale training.

    tools/train.py configs/mask_rcnn_convnext_s_coco_1x.py
    tools/test.py configs/mask_rcnn_convnext_s_coco_1x.py

Published: 45.4 box AP, 41.8 mask AP (quoted by VMamba, arXiv:2401.10166, among its baselines).
Cost: 70 M parameters, 348 G multiply-adds at 1280x800.

Who trained it does not say how. Learning rate and head are those of the authors' Mask R-CNN with ConvNeXt-T, layer
decay and drop path those of their Cascade Mask R-CNN with ConvNeXt-S; the 12 epochs are Swin's.
"""

_base_ = ["./_base_/methods/mask_rcnn.py", "./_base_/datasets/coco.py", "./_base_/schedules/adamw_1x.py"]

model = dict(backbone=dict(type="convnext_s", drop_path_rate=0.6, layer_scale_init_value=1.0))

optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(decay_rate=0.7, decay_type="layer_wise", num_layers=12),
)

# The authors' final ImageNet-1K weights, not the moving average (sec. 4), as OpenMMLab hosts them for its own recipe;
# the hash is what stands in the file's name.
pretrained = dict(
    name="in1k",
    url="https://download.openmmlab.com/mmclassification/v0/convnext/downstream/"
    "convnext-small_3rdparty_32xb128-noema_in1k_20220301-303e75e3.pth",
    sha256="303e75e3",
)

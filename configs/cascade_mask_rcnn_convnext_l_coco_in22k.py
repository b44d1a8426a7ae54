"""Cascade Mask R-CNN + ConvNeXt-L on COCO, 36 epochs with multi-scale training, from ImageNet-22K.

    tools/train.py configs/cascade_mask_rcnn_convnext_l_coco_in22k.py
    tools/test.py configs/cascade_mask_rcnn_convnext_l_coco_in22k.py

Published: 54.8 box AP, 47.6 mask AP (ConvNeXt, table 3; the authors' repository).
Cost: 255 M parameters, 1354 G multiply-adds at 1280x800. The authors trained it in fp32.
"""

_base_ = ["./_base_/methods/cascade_mask_rcnn.py", "./_base_/datasets/coco.py", "./_base_/schedules/adamw_3x.py"]

model = dict(backbone=dict(type="convnext_l", drop_path_rate=0.7, layer_scale_init_value=1.0))

optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(decay_rate=0.7, decay_type="layer_wise", num_layers=12),
)

# The authors' ImageNet-22K weights, as OpenMMLab hosts them for its own recipe; the hash is what stands in the file's
# name.
pretrained = dict(
    name="in22k",
    url="https://download.openmmlab.com/mmclassification/v0/convnext/downstream/"
    "convnext-large_3rdparty_in21k_20220301-e6e0ea0a.pth",
    sha256="e6e0ea0a",
)

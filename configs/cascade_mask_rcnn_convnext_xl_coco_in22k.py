"""Cascade Mask R-CNN + ConvNeXt-XL on COCO, 36 epochs with multi-scale training, from ImageNet-22K.

    tools/train.py configs/cascade_mask_rcnn_convnext_xl_coco_in22k.py
    tools/test.py configs/cascade_mask_rcnn_convnext_xl_coco_in22k.py

Published: 55.2 box AP, 47.7 mask AP (ConvNeXt, table 3; the authors' repository).
Cost: 407 M parameters, 1898 G multiply-adds at 1280x800. The authors trained it in fp32.
"""

_base_ = ["./_base_/methods/cascade_mask_rcnn.py", "./_base_/datasets/coco.py", "./_base_/schedules/adamw_3x.py"]

model = dict(backbone=dict(type="convnext_xl", drop_path_rate=0.8, layer_scale_init_value=1.0))

optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(decay_rate=0.7, decay_type="layer_wise", num_layers=12),
)

# The authors' ImageNet-22K weights, as OpenMMLab hosts them for its own recipe; the hash is what stands in the file's
# name.
pretrained = dict(
    name="in22k",
    url="https://download.openmmlab.com/mmclassification/v0/convnext/downstream/"
    "convnext-xlarge_3rdparty_in21k_20220301-08aa5ddc.pth",
    sha256="08aa5ddc",
)

"""Cascade Mask R-CNN + ConvNeXt-T on COCO, 36 epochs with multi-scale training.

    tools/train.py configs/cascade_mask_rcnn_convnext_t_coco.py
    tools/test.py configs/cascade_mask_rcnn_convnext_t_coco.py

Published: 50.4 box AP, 43.7 mask AP (ConvNeXt, table 3; the authors' repository).
Cost: 86 M parameters, 741 G multiply-adds at 1280x800. The authors trained it in fp16; add --amp for that.
"""

_base_ = ["./_base_/methods/cascade_mask_rcnn.py", "./_base_/datasets/coco.py", "./_base_/schedules/adamw_3x.py"]

model = dict(backbone=dict(type="convnext_t", drop_path_rate=0.4, layer_scale_init_value=1.0))

optim_wrapper = dict(
    optimizer=dict(lr=2e-4),
    paramwise_cfg=dict(decay_rate=0.7, decay_type="layer_wise", num_layers=6),
)

# The authors' final ImageNet-1K weights, not the moving average (sec. 4), as OpenMMLab hosts them for its own recipe;
# the hash is what stands in the file's name.
pretrained = dict(
    name="in1k",
    url="https://download.openmmlab.com/mmclassification/v0/convnext/downstream/"
    "convnext-tiny_3rdparty_32xb128-noema_in1k_20220301-795e9634.pth",
    sha256="795e9634",
)

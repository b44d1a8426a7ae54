"""UperNet + ConvNeXt-L on ADE20K, 640x640 crops, 160k iterations, from ImageNet-22K.

    tools/train.py configs/upernet_convnext_l_ade20k_in22k.py
    tools/test.py configs/upernet_convnext_l_ade20k_in22k.py --aug-test

Published: mIoU 53.2 single-scale, 53.7 multi-scale with flip (ConvNeXt, tables 4 and 7; the authors' repository).
Cost: 235 M parameters, 2458 G multiply-adds at 2560x640. The authors trained it in fp32.
"""

_base_ = ["./_base_/methods/upernet.py", "./_base_/datasets/ade20k_640.py", "./_base_/schedules/adamw_160k.py"]

model = dict(backbone=dict(type="convnext_l", drop_path_rate=0.4, layer_scale_init_value=1.0))

optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(decay_rate=0.9, decay_type="stage_wise", num_layers=12),
)

# The authors' ImageNet-22K weights, as OpenMMLab hosts them for its own recipe; the hash is what stands
# in the file's name.
pretrained = dict(
    name="in22k",
    url="https://download.openmmlab.com/mmclassification/v0/convnext/downstream/"
    "convnext-large_3rdparty_in21k_20220301-e6e0ea0a.pth",
    sha256="e6e0ea0a",
)

test_ss = dict(mode="slide", crop_size=(640, 640), stride=(426, 426))

"""UperNet + ConvNeXt-B on ADE20K, 512x512 crops, 160k iterations.

    tools/train.py configs/upernet_convnext_b_ade20k.py
    tools/test.py configs/upernet_convnext_b_ade20k.py --aug-test

Published: mIoU 49.1 single-scale, 49.9 multi-scale with flip (ConvNeXt, tables 4 and 7; the authors' repository).
Cost: 122 M parameters, 1170 G multiply-adds at 2048x512. The authors trained it in fp16; add --amp for that.
"""

_base_ = ["./_base_/methods/upernet.py", "./_base_/datasets/ade20k.py", "./_base_/schedules/adamw_160k.py"]

model = dict(backbone=dict(type="convnext_b", drop_path_rate=0.4, layer_scale_init_value=1.0))

optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(decay_rate=0.9, decay_type="stage_wise", num_layers=12),
)

# The authors' final ImageNet-1K weights, not the moving average (sec. 4), as OpenMMLab hosts them for its own recipe;
# the hash is what stands in the file's name.
pretrained = dict(
    name="in1k",
    url="https://download.openmmlab.com/mmclassification/v0/convnext/downstream/"
    "convnext-base_3rdparty_32xb128-noema_in1k_20220301-2a0ee547.pth",
    sha256="2a0ee547",
)

test_ss = dict(mode="slide", crop_size=(512, 512), stride=(341, 341))

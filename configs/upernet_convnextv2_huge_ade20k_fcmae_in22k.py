"""UperNet + ConvNeXt V2-H on ADE20K, 640x640 crops, 160k iterations, from FCMAE fine-tuned on ImageNet-22K.

    tools/train.py configs/upernet_convnextv2_huge_ade20k_fcmae_in22k.py
    tools/test.py configs/upernet_convnextv2_huge_ade20k_fcmae_in22k.py --aug-test

Published: mIoU 57.0 multi-scale with flip (ConvNeXt V2, table 7).
Cost: 707 M parameters, 5113 G multiply-adds at 2560x640.

No config was released for it; what is taken from where stands in upernet_convnextv2_huge_ade20k_fcmae.py. Scales are
(2560, 640) and windows step by 426, as in ConvNeXt's recipes with crops of 640.
"""

_base_ = ["./_base_/methods/upernet.py", "./_base_/datasets/ade20k_640.py", "./_base_/schedules/adamw_160k.py"]

model = dict(backbone=dict(type="convnextv2_huge", drop_path_rate=0.4))

optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(decay_rate=0.9, decay_type="layer_wise", num_layers=12),
)

# FCMAE, fine-tuned on ImageNet-22K, then on ImageNet-1K, the only form in which the authors released it. Of its two
# sizes, 384 and 512 pixels, the paper does not say which it took; this is the one nearer to the crops, as OpenMMLab
# hosts it. The hash is what stands in the file's name.
pretrained = dict(
    name="fcmae_in22k",
    url="https://download.openmmlab.com/mmclassification/v0/convnext-v2/"
    "convnext-v2-huge_fcmae-in21k-pre_3rdparty_in1k-512px_20230104-ce32e63c.pth",
    sha256="ce32e63c",
)

test_ss = dict(mode="slide", crop_size=(640, 640), stride=(426, 426))
test_ms = dict(ratios=(0.75, 0.875, 1.0, 1.125, 1.25))

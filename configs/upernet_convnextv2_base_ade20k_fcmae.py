"""UperNet + ConvNeXt V2-B on ADE20K, 512x512 crops, 160k iterations, from FCMAE fine-tuned on ImageNet-1K.

    tools/train.py configs/upernet_convnextv2_base_ade20k_fcmae.py
    tools/test.py configs/upernet_convnextv2_base_ade20k_fcmae.py --aug-test

Published: mIoU 52.1 multi-scale with flip (ConvNeXt V2, table 7).
Cost: 122 M parameters, 1170 G multiply-adds at 2048x512.

No config was released for it. The paper (appendix A.4) states batch, iterations, weight decay, layer-wise decay and the
multi-scale ratios, and ranges that were searched: learning rate 1e-4 to 3e-4, layer decay 0.8 or 0.9, drop path 0.1 to
0.4. Inside them, the values of ConvNeXt's own recipe are taken: 1e-4, 0.9, 0.4; so are its betas, warm-up, 12 layers of
decay and single-scale windows, which the paper does not state.
"""

_base_ = ["./_base_/methods/upernet.py", "./_base_/datasets/ade20k.py", "./_base_/schedules/adamw_160k.py"]

model = dict(backbone=dict(type="convnextv2_base", drop_path_rate=0.4))

optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(decay_rate=0.9, decay_type="layer_wise", num_layers=12),
)

# The authors' ImageNet-1K weights after FCMAE and fine-tuning at 224x224, as OpenMMLab hosts them; the hash is what
# stands in the file's name.
pretrained = dict(
    name="fcmae",
    url="https://download.openmmlab.com/mmclassification/v0/convnext-v2/"
    "convnext-v2-base_fcmae-pre_3rdparty_in1k_20230104-00a70fa4.pth",
    sha256="00a70fa4",
)

test_ss = dict(mode="slide", crop_size=(512, 512), stride=(341, 341))
test_ms = dict(ratios=(0.75, 0.875, 1.0, 1.125, 1.25))

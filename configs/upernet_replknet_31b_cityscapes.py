"""UperNet + RepLKNet-31B on Cityscapes, 769x769 crops, 80k iterations' worth of images.

    tools/train.py configs/upernet_replknet_31b_cityscapes.py
    tools/test.py configs/upernet_replknet_31b_cityscapes.py --aug-test

Published: mIoU 83.1 single-scale, 83.5 multi-scale with flip (RepLKNet, table 7; the authors' repository).
Cost: 110 M parameters without the auxiliary head, 2315 G multiply-adds at 2048x1024 (112 and 2333 by our count). The
authors trained it in fp32.
"""

_base_ = ["./_base_/methods/upernet.py", "./_base_/datasets/cityscapes.py", "./_base_/schedules/adamw_160k.py"]

model = dict(
    backbone=dict(type="replknet_31b", drop_path_rate=0.5, use_sync_bn=True, use_checkpoint=True),
    decode_head=dict(align_corners=True),
    auxiliary_head=dict(align_corners=True),
)

# The authors' 20k iterations on 32 GPUs stand for 80k on 8, with the 2 images per GPU of mmsegmentation's base:
# 20k x 64 = 80k x 16 = 1.28 M images = 430 epochs of 2,975
total_batch = 64
schedule = dict(name="80k", iterations=20_000, warmup=dict(iterations=400))
val_interval = 2_000

optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=2e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0),
)

# The authors' ImageNet-1K weights, trained at 224, as OpenMMLab hosts them; the hash is what stands in the file's name.
pretrained = dict(
    name="in1k",
    url="https://download.openmmlab.com/mmclassification/v0/replknet/replknet-31B_3rdparty_in1k_20221118-fd08e268.pth",
    sha256="fd08e268",
)

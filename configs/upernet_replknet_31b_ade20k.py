"""UperNet + RepLKNet-31B on ADE20K, 512x512 crops, 40k iterations of 128 images, published as 160k.

    tools/train.py configs/upernet_replknet_31b_ade20k.py
    tools/test.py configs/upernet_replknet_31b_ade20k.py --aug-test

Published: mIoU 49.9 single-scale, 50.6 multi-scale with flip (RepLKNet, tables 7 and 8; the authors' repository).
Cost: 112 M parameters (without the auxiliary head), 1170 G multiply-adds at 2048x512. The authors trained it in fp32 on
64 GPUs with 2 images each; on fewer, --images-per-gpu 2 accumulates the rest, with other statistics in the SyncBN.
"""

_base_ = ["./_base_/methods/upernet.py", "./_base_/datasets/ade20k.py", "./_base_/schedules/replknet_160k.py"]

# 40k iterations x 128 images = 160k x 32; the warm-up of 400 is a quarter of 1500, rounded up
total_batch = 128
schedule = dict(iterations=40_000, warmup=dict(iterations=400))
val_interval = 4_000

model = dict(backbone=dict(type="replknet_31b", drop_path_rate=0.5, use_sync_bn=True, use_checkpoint=True))

# The authors' ImageNet-1K weights at 224x224 as OpenMMLab hosts them (the authors: Google Drive); the hash is what
# stands in the file's name.
pretrained = dict(
    name="in1k",
    url="https://download.openmmlab.com/mmclassification/v0/replknet/replknet-31B_3rdparty_in1k_20221118-fd08e268.pth",
    sha256="fd08e268",
)

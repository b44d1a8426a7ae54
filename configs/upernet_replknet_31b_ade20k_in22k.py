"""UperNet + RepLKNet-31B on ADE20K, 640x640 crops, 40k iterations of 128 images, published as 160k, from ImageNet-22K.

    tools/train.py configs/upernet_replknet_31b_ade20k_in22k.py
    tools/test.py configs/upernet_replknet_31b_ade20k_in22k.py --aug-test

Published: mIoU 51.5 single-scale, 52.3 multi-scale with flip (RepLKNet, tables 7 and 8; the authors' repository).
Cost: 112 M parameters (without the auxiliary head), 1829 G multiply-adds at 2560x640. As released, images are resized
to (2048, 512) for training and testing in spite of crops and windows of 640. The authors trained it in fp32 on 64 GPUs
with 2 images each; on fewer, --images-per-gpu 2 accumulates the rest, with other statistics in the SyncBN.
"""

_base_ = ["./_base_/methods/upernet.py", "./_base_/datasets/ade20k.py", "./_base_/schedules/replknet_160k.py"]

# 40k iterations x 128 images = 160k x 32; the warm-up of 400 is a quarter of 1500, rounded up
total_batch = 128
schedule = dict(iterations=40_000, warmup=dict(iterations=400))
val_interval = 4_000
crop_size = (640, 640)

model = dict(backbone=dict(type="replknet_31b", drop_path_rate=0.3, use_sync_bn=True, use_checkpoint=True))

# As the authors host them, before fine-tuning on ImageNet-1K; no hash is published. Where Google asks back, download
# the file named in their README by hand and name it with --pretrained FILE.
pretrained = dict(
    name="in22k",
    url="https://drive.usercontent.google.com/download?export=download&confirm=t&id=1PYJiMszZYNrkZOeYwjccvxX8UHMALB7z",
    sha256=None,
)

test_ss = dict(mode="slide", crop_size=(640, 640), stride=(426, 426))
test_ms = dict(mode="slide", crop_size=(640, 640), stride=(426, 426))

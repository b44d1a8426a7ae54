"""UperNet + RepLKNet-XL on ADE20K, 640x640 crops, 160k iterations of 32 images, from MegData73M.

    tools/train.py configs/upernet_replknet_xl_ade20k_megdata73m.py
    tools/test.py configs/upernet_replknet_xl_ade20k_megdata73m.py --aug-test

Published: mIoU 55.2 single-scale, 56.0 multi-scale with flip (RepLKNet, tables 7 and 8; the authors' repository).
Cost: 374 M parameters (without the auxiliary head), 3431 G multiply-adds at 2560x640 (3405 are counted here, and by
the authors' own code). They trained it in fp32 on 16 GPUs with 2 images each; scales and windows are those of the 31B
recipe from ImageNet-22K. The released config gives the training set the test pipeline; the training pipeline, which
it defines as well, is taken.
"""

_base_ = ["./upernet_replknet_31b_ade20k_in22k.py"]

# 160k iterations x 32 images / 20,210 images = 253 epochs of ADE20K
total_batch = 32
schedule = dict(iterations=160_000, warmup=dict(iterations=1_500))
val_interval = 16_000

model = dict(
    # As in the pretraining.
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
    backbone=dict(type="replknet_xl", drop_path_rate=0.5, norm_outputs=True),
)

# As the authors host them, before fine-tuning on ImageNet-1K; no hash is published. Where Google asks back, download
# the file named in their README by hand and name it with --pretrained FILE.
pretrained = dict(
    name="megdata73m",
    url="https://drive.usercontent.google.com/download?export=download&confirm=t&id=1CBHAEUlCzoHfiAQmMIjZhDMAIyHUmAAj",
    sha256=None,
)

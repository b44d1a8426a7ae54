"""UperNet + RepLKNet-31L on ADE20K, 640x640 crops, 80k iterations of 64 images, published as 160k, from ImageNet-22K.

    tools/train.py configs/upernet_replknet_31l_ade20k_in22k.py
    tools/test.py configs/upernet_replknet_31l_ade20k_in22k.py --aug-test

Published: mIoU 52.4 single-scale, 52.7 multi-scale with flip (RepLKNet, tables 7 and 8; the authors' repository).
Cost: 207 M parameters (small kernels merged, without the auxiliary head), 2404 G multiply-adds at 2560x640. The authors
trained it in fp32 on 64 GPUs with 1 image each; scales and windows are those of the 31B recipe from ImageNet-22K.
"""

_base_ = ["./upernet_replknet_31b_ade20k_in22k.py"]

# 80k iterations x 64 images = 160k x 32; the warm-up of 800 is half of 1500, rounded up
total_batch = 64
schedule = dict(iterations=80_000, warmup=dict(iterations=800))
val_interval = 8_000

model = dict(backbone=dict(type="replknet_31l"))

# As the authors host them, before fine-tuning on ImageNet-1K; no hash is published. Where Google asks back, download
# the file named in their README by hand and name it with --pretrained FILE.
pretrained = dict(
    name="in22k",
    url="https://drive.usercontent.google.com/download?export=download&confirm=t&id=16jcPsPwo5rko7ojWS9k_W-svHX-iFknY",
    sha256=None,
)

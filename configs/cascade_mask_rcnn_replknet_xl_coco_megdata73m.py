"""Cascade Mask R-CNN + RepLKNet-XL on COCO, 36 epochs with multi-scale training, from MegData73M.

    tools/train.py configs/cascade_mask_rcnn_replknet_xl_coco_megdata73m.py
    tools/test.py configs/cascade_mask_rcnn_replknet_xl_coco_megdata73m.py

Published: 55.5 box AP, 48.0 mask AP (RepLKNet, table 9; the authors' repository).
Cost: 392 M parameters, 1958 G multiply-adds at 1280x800. The authors trained it in fp32.

The authors' config states 4 images a GPU, not how many GPUs; 64 images are taken, as schedules/replknet_3x.py explains.
"""

_base_ = ["./_base_/methods/cascade_mask_rcnn.py", "./_base_/datasets/coco.py", "./_base_/schedules/replknet_3x.py"]

model = dict(
    # As in the pretraining.
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
    backbone=dict(type="replknet_xl", drop_path_rate=0.5, use_sync_bn=True, use_checkpoint=True, norm_outputs=True),
)

# As the authors host them, before fine-tuning on ImageNet-1K; no hash is published. Where Google asks back, download
# the file named in their README by hand and name it with --pretrained FILE.
pretrained = dict(
    name="megdata73m",
    url="https://drive.usercontent.google.com/download?export=download&confirm=t&id=1CBHAEUlCzoHfiAQmMIjZhDMAIyHUmAAj",
    sha256=None,
)

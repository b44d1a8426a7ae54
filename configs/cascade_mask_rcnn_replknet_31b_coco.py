"""Cascade Mask R-CNN + RepLKNet-31B on COCO, 36 epochs with multi-scale training.

    tools/train.py configs/cascade_mask_rcnn_replknet_31b_coco.py
    tools/test.py configs/cascade_mask_rcnn_replknet_31b_coco.py

Published: 52.2 box AP, 45.2 mask AP (RepLKNet, table 9; the authors' repository).
Cost: 137 M parameters, 965 G multiply-adds at 1280x800. The authors trained it in fp32.

The authors' config states 1 image a GPU, not how many GPUs; 64 images are taken, as schedules/replknet_3x.py explains.
"""

_base_ = ["./_base_/methods/cascade_mask_rcnn.py", "./_base_/datasets/coco.py", "./_base_/schedules/replknet_3x.py"]

model = dict(backbone=dict(type="replknet_31b", drop_path_rate=0.6, use_sync_bn=True, use_checkpoint=True))

# The authors' ImageNet-1K weights at 224x224 as OpenMMLab hosts them (the authors: Google Drive); the hash is what
# stands in the file's name.
pretrained = dict(
    name="in1k",
    url="https://download.openmmlab.com/mmclassification/v0/replknet/replknet-31B_3rdparty_in1k_20221118-fd08e268.pth",
    sha256="fd08e268",
)

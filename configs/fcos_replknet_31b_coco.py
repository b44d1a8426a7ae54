"""FCOS + RepLKNet-31B on COCO, 24 epochs, images of 640 or 800.

    tools/train.py configs/fcos_replknet_31b_coco.py
    tools/test.py configs/fcos_replknet_31b_coco.py

Published: 47.0 box AP (RepLKNet, table 9; the authors' repository).
Cost: 87 M parameters, 437 G multiply-adds at 1280x800. The authors trained it in fp32.

The authors' config states 2 images a GPU, not how many GPUs; 32 images are taken, as schedules/replknet_2x.py explains.
Its assigner of anchors by overlap is left out: FCOS has none.
"""

_base_ = ["./_base_/methods/fcos.py", "./_base_/datasets/coco_640_or_800.py", "./_base_/schedules/replknet_2x.py"]

model = dict(backbone=dict(type="replknet_31b", drop_path_rate=0.5, use_sync_bn=True, use_checkpoint=True))

# The authors' ImageNet-1K weights at 224x224 as OpenMMLab hosts them (the authors: Google Drive); the hash is what
# stands in the file's name.
pretrained = dict(
    name="in1k",
    url="https://download.openmmlab.com/mmclassification/v0/replknet/replknet-31B_3rdparty_in1k_20221118-fd08e268.pth",
    sha256="fd08e268",
)

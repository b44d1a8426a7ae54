"""Cascade Mask R-CNN + RepLKNet-31B on COCO, 36 epochs with multi-scale training, from ImageNet-22K.

    tools/train.py configs/cascade_mask_rcnn_replknet_31b_coco_in22k.py
    tools/test.py configs/cascade_mask_rcnn_replknet_31b_coco_in22k.py

Published: 53.0 box AP, 46.0 mask AP (RepLKNet, table 9; the authors' repository).
Cost: 137 M parameters, 965 G multiply-adds at 1280x800. The authors trained it in fp32.

The authors' config states 1 image a GPU, not how many GPUs; 64 images are taken, as schedules/replknet_3x.py explains.
"""

_base_ = ["./_base_/methods/cascade_mask_rcnn.py", "./_base_/datasets/coco.py", "./_base_/schedules/replknet_3x.py"]

model = dict(backbone=dict(type="replknet_31b", drop_path_rate=0.4, use_sync_bn=True, use_checkpoint=True))

# As the authors host them, before fine-tuning on ImageNet-1K; no hash is published. Where Google asks back, download
# the file named in their README by hand and name it with --pretrained FILE.
pretrained = dict(
    name="in22k",
    url="https://drive.usercontent.google.com/download?export=download&confirm=t&id=1PYJiMszZYNrkZOeYwjccvxX8UHMALB7z",
    sha256=None,
)

"""Cascade Mask R-CNN + RepLKNet-31L on COCO, 36 epochs with multi-scale training, from ImageNet-22K.

    tools/train.py configs/cascade_mask_rcnn_replknet_31l_coco_in22k.py
    tools/test.py configs/cascade_mask_rcnn_replknet_31l_coco_in22k.py

Published: 53.9 box AP, 46.5 mask AP (RepLKNet, table 9; the authors' repository).
Cost: 229 M parameters, 1321 G multiply-adds at 1280x800. The authors trained it in fp32.

The authors' config states 1 image a GPU, not how many GPUs; 64 images are taken, as schedules/replknet_3x.py explains.
"""

_base_ = ["./_base_/methods/cascade_mask_rcnn.py", "./_base_/datasets/coco.py", "./_base_/schedules/replknet_3x.py"]

model = dict(backbone=dict(type="replknet_31l", drop_path_rate=0.7, use_sync_bn=True, use_checkpoint=True))

# As the authors host them, before fine-tuning on ImageNet-1K; no hash is published. Where Google asks back, download
# the file named in their README by hand and name it with --pretrained FILE.
pretrained = dict(
    name="in22k",
    url="https://drive.usercontent.google.com/download?export=download&confirm=t&id=16jcPsPwo5rko7ojWS9k_W-svHX-iFknY",
    sha256=None,
)

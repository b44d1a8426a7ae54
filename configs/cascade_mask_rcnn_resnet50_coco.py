"""Cascade Mask R-CNN + ResNet-50 on COCO, 36 epochs with multi-scale training.

    tools/train.py configs/cascade_mask_rcnn_resnet50_coco.py
    tools/test.py configs/cascade_mask_rcnn_resnet50_coco.py

Published: 46.3 box AP, 40.1 mask AP (Swin, table 2b, trained by its authors).
Cost: 82 M parameters, 739 G multiply-adds at 1280x800.

No config was released for it. Optimizer, scales and box heads are those of the authors' recipe for Swin, which the
published parameters confirm; the frozen stem, first stage and statistics are those of the base in their repository.
"""

_base_ = ["./_base_/methods/cascade_mask_rcnn.py", "./_base_/datasets/coco.py", "./_base_/schedules/swin_3x.py"]

model = dict(backbone=dict(type="resnet50", frozen_stages=1, norm_eval=True))

# torchvision's ImageNet-1K weights (the first ones, 76 to 79 % top-1); the hash is what stands in the file's name.
pretrained = dict(
    name="in1k",
    url="https://download.pytorch.org/models/resnet50-0676ba61.pth",
    sha256="0676ba61",
)

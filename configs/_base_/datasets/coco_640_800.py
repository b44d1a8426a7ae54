"""COCO 2017 with training images at any short side from 640 to 800 pixels (mmdetection, ms_3x)."""

_base_ = ["./coco_800.py"]

train_short_sides = None
train_short_range = (640, 800)

"""COCO 2017 with training images at short sides of 640 or 800 pixels (mmdetection's FCOS 2x)."""

_base_ = ["./coco_800.py"]

train_short_sides = (640, 800)

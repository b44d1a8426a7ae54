"""COCO 2017 with training images at the one scale of the tests (mmdetection, coco_instance)."""

_base_ = ["./coco.py"]

train_short_sides = (800,)
crop_short_sides = None
crop_size = None

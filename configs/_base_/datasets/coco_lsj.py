"""COCO 2017 with large-scale jitter (arXiv:2012.07177, sec. 3) at 1024x1024, as ConvNeXt V2 trains (appendix A.3)."""

_base_ = ["./coco.py"]

train_long_side = None
train_short_sides = None
crop_short_sides = None
crop_size = None
# An image is fitted into this size times a factor of 0.1 to 2, then cropped or padded to this size.
jitter_size = (1024, 1024)
jitter_range = (0.1, 2.0)

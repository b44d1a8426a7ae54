"""ADE20K with crops of 640: training and testing scales grow alike (2560 x 640), windows of 640 step by 426."""

_base_ = ["./ade20k.py"]

crop_size = (640, 640)
train_scale = (2560, 640)
test_ss = dict(scale=(2560, 640))
test_ms = dict(scale=(2560, 640))

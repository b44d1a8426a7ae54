"""Cityscapes, 19 classes: 2,975 training and 500 validation images of 2048x1024; crops of 769 (mmsegmentation)."""

dataset = "cityscapes"
crop_size = (769, 769)
data_root = "data/cityscapes"
num_classes = 19

# The image, a pixel larger in both directions (769 = 12 x 64 + 1 fits align_corners), times a factor of 0.5 to 2.
train_scale = (2049, 1025)
train_ratios = (0.5, 2.0)

train_dataloader = dict(
    num_workers=4,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(
        type="CityscapesDataset",
        data_prefix=dict(img_path="leftImg8bit/train", seg_map_path="gtFine/train"),
    ),
)
test_dataloader = dict(
    num_workers=4,
    dataset=dict(
        type="CityscapesDataset",
        data_prefix=dict(img_path="leftImg8bit/val", seg_map_path="gtFine/val"),
    ),
)

# The six ratios are those of --aug-test in mmsegmentation 0.x.
test_ss = dict(scale=(2049, 1025), ratios=(1.0,), flip=False, mode="whole")
test_ms = dict(scale=(2049, 1025), ratios=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75), flip=True, mode="whole")

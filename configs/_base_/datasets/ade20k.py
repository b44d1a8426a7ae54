"""ADE20K, 150 classes (SceneParse150): 20,210 training and 2,000 validation images; crops of 512."""

dataset = "ade20k"
crop_size = (512, 512)
data_root = "data/ade/ADEChallengeData2016"
num_classes = 150

# The short side is 512 (with the long one under 2048) times a factor of 0.5 to 2.
train_scale = (2048, 512)
train_ratios = (0.5, 2.0)

train_dataloader = dict(
    num_workers=4,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(
        type="ADE20KDataset",
        data_prefix=dict(img_path="images/training", seg_map_path="annotations/training"),
    ),
)
test_dataloader = dict(
    num_workers=4,
    dataset=dict(
        type="ADE20KDataset",
        data_prefix=dict(img_path="images/validation", seg_map_path="annotations/validation"),
    ),
)

# Both protocols rescale to the test scale first, so a ratio is relative to (2048, 512), not to the original image.
test_ss = dict(scale=(2048, 512), ratios=(1.0,), flip=False, mode="whole")
test_ms = dict(scale=(2048, 512), ratios=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75), flip=True, mode="whole")

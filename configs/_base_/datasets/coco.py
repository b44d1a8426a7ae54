"""COCO 2017, 80 classes: 118,287 training and 5,000 validation images; the multi-scale training of DETR with a crop
in half of the cases, as the Swin and ConvNeXt recipes have it; tests at one scale of (1333, 800), or at nine scales
with flip."""

dataset = "coco"
data_root = "data/coco"
num_classes = 80

train_long_side = 1333
train_short_sides = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
# The other half: a resize to one of these, a crop with sides of 384 to 600, and a resize as above.
crop_short_sides = (400, 500, 600)
crop_size = (384, 600)

train_dataloader = dict(
    num_workers=4,
    # Upright images together and wide ones together: less padding.
    batch_sampler=dict(type="AspectRatioBatchSampler"),
    dataset=dict(
        type="CheckedCocoDataset",
        ann_file="annotations/instances_train2017.json",
        data_prefix=dict(img="train2017/"),
        # 117,266 images remain.
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
    ),
)
test_dataloader = dict(
    num_workers=4,
    dataset=dict(
        type="CheckedCocoDataset",
        ann_file="annotations/instances_val2017.json",
        data_prefix=dict(img="val2017/"),
    ),
)

test_ss = dict(scale=(1333, 800), ratios=(1.0,), flip=False)
# The rows are published at one scale alone, and the authors' repositories state no views for more of them: these are
# detectron2's (TEST.AUG in its defaults).
test_ms = dict(scales=tuple((4000, short) for short in range(400, 1300, 100)), flip=True)

"""One's own detection data in COCO's format: <root>/{train,val}/ and <root>/annotations/{train,val}.json (or COCO's own
names); --data-root names the root. Sizes and augmentation are those of COCO."""

_base_ = ["./coco.py"]

dataset = "folder"
layout = "coco_folder"
data_root = None
num_classes = None  # read from the annotation files

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="FolderCocoDataset",
        split="train",
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
    ),
)
test_dataloader = dict(dataset=dict(_delete_=True, type="FolderCocoDataset", split="val"))

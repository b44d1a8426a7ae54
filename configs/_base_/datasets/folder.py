"""One's own segmentation data: <root>/{images,labels}/{train,val} and classes.txt; --data-root names the root."""

dataset = "folder"
crop_size = (512, 512)
data_root = None
num_classes = None  # read from classes.txt

train_scale = (2048, 512)
train_ratios = (0.5, 2.0)

train_dataloader = dict(
    num_workers=4,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(type="FolderSegDataset", split="train"),
)
test_dataloader = dict(num_workers=4, dataset=dict(type="FolderSegDataset", split="val"))

test_ss = dict(scale=(2048, 512), ratios=(1.0,), flip=False, mode="whole")
test_ms = dict(scale=(2048, 512), ratios=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75), flip=True, mode="whole")

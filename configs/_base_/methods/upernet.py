"""UperNet (arXiv:1807.10221), as the ConvNeXt, Swin and RepLKNet segmentation recipes use it. Input channels and the
number of classes are filled in from backbone and data set."""

_base_ = ["./segmentation.py"]

method = "upernet"

model = dict(
    decode_head=dict(
        type="LeanUPerHead",  # mmseg's UPerHead with fewer multiply-adds; plain=True computes as mmseg does
        plain=False,
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6),
        channels=512,
    )
)

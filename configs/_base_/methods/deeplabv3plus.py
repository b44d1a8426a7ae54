"""DeepLabV3+ (arXiv:1802.02611) on maps kept at stride 8 (mmsegmentation, deeplabv3plus_r50-d8). Input channels and the
number of classes are filled in from backbone and data set; the decoder joins the backbone's first map."""

_base_ = ["./segmentation.py"]

method = "deeplabv3plus"

model = dict(
    backbone=dict(output_stride=8),
    decode_head=dict(
        type="LeanSeparableASPPHead",  # mmseg's DepthwiseSeparableASPPHead; plain=True computes as mmseg does
        plain=False,
        in_index=3,
        channels=512,
        dilations=(1, 12, 24, 36),
        c1_channels=48,
    ),
)

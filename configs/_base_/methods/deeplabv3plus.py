"""DeepLabV3+ (arXiv:1802.02611) on maps kept at stride 8, with an FCN head on stage 3 as the auxiliary loss
(mmsegmentation, deeplabv3plus_r50-d8). Input channels and the number of classes are filled in from backbone and data
set; the decoder joins the backbone's first map."""

method = "deeplabv3plus"

model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(output_stride=8),
    decode_head=dict(
        type="DepthwiseSeparableASPPHead",
        in_index=3,
        channels=512,
        dilations=(1, 12, 24, 36),
        c1_channels=48,
        dropout_ratio=0.1,
        norm_cfg=dict(type="SyncBN", requires_grad=True),
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
    ),
    auxiliary_head=dict(
        type="FCNHead",
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        norm_cfg=dict(type="SyncBN", requires_grad=True),
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=0.4),
    ),
    train_cfg=dict(),
)

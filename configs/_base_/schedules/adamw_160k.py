"""AdamW for 160k iterations: linear warm-up over 1500, then linearly to zero (ConvNeXt, appendix A.3; Swin)."""

# 160k iterations x 16 images / 20,210 images = 127 epochs of ADE20K
total_batch = 16
schedule = dict(
    name="160k",
    iterations=160_000,
    warmup=dict(iterations=1_500, ratio=1e-6),
    poly=dict(power=1.0, min_lr=0.0),
)
val_interval = 16_000

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor="LayerDepthOptimWrapperConstructor",
    # Vectors and biases (the ConvNeXt authors' constructor), and the scales of ConvNeXt V2's response normalization,
    # which are vectors stored in four dimensions (the V2 authors' optim_factory).
    paramwise_cfg=dict(decay_rate=1.0, no_weight_decay=["one_dimensional", ".grn."]),
)

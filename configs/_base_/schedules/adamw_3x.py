"""AdamW for 36 epochs: linear warm-up over 500 iterations, a tenth of the rate after 27 and after 33 epochs
(ConvNeXt, appendix A.3; Swin)."""

# 36 epochs x 117,266 images / 16 images = 264k iterations of COCO
total_batch = 16
schedule = dict(
    name="3x",
    epochs=36,
    warmup=dict(iterations=500, ratio=0.001),
    steps=dict(at=(27, 33), factor=0.1),
)
val_interval = 1

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor="LayerDepthOptimWrapperConstructor",
    paramwise_cfg=dict(decay_rate=1.0, no_weight_decay=["one_dimensional", ".grn."]),
)

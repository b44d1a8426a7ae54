"""SGD for 12 epochs: linear warm-up over 500 iterations, a tenth of the rate after 8 and after 11 epochs
(mmdetection, schedule_1x)."""

# 12 epochs x 117,266 images / 16 images = 88k iterations of COCO
total_batch = 16
schedule = dict(
    name="1x",
    epochs=12,
    warmup=dict(iterations=500, ratio=0.001),
    steps=dict(at=(8, 11), factor=0.1),
)
val_interval = 1

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=1e-4),
    constructor="LayerDepthOptimWrapperConstructor",
    paramwise_cfg=dict(decay_rate=1.0, no_weight_decay=[]),
)

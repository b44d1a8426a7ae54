"""SGD for 160k iterations, polynomial of power 0.9 down to 1e-4, no warm-up (mmsegmentation's schedule_160k.py)."""

# 160k iterations x 16 images / 20,210 images = 127 epochs of ADE20K
total_batch = 16
schedule = dict(
    name="160k",
    iterations=160_000,
    # The ratio keeps the full rate where a miniature would warm up.
    warmup=dict(iterations=0, ratio=1.0),
    poly=dict(power=0.9, min_lr=1e-4),
)
val_interval = 16_000

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=5e-4),
    constructor="LayerDepthOptimWrapperConstructor",
    paramwise_cfg=dict(decay_rate=1.0, no_weight_decay=[]),
)

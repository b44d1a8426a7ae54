"""SGD for 80k iterations: a polynomial of power 0.9 down to 1e-4, no warm-up (mmsegmentation, schedule_80k)."""

# 80k iterations x 8 images / 2,975 images = 215 epochs of Cityscapes
total_batch = 8
schedule = dict(
    name="80k",
    iterations=80_000,
    warmup=dict(iterations=0, ratio=1.0),
    poly=dict(power=0.9, min_lr=1e-4),
)
val_interval = 8_000

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=5e-4),
)

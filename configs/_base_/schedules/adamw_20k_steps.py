"""AdamW for 20k iterations of 16 images with the steps of the 3x schedule, for detection data of some hundreds to
thousands of images."""

_base_ = ["./adamw_3x.py"]

# 20k iterations x 16 images = 320,000 images seen; the steps at 27/36 and 33/36, as in 36 epochs
schedule = dict(
    _delete_=True,
    name="20k",
    iterations=20_000,
    warmup=dict(iterations=500, ratio=0.001),
    steps=dict(at=(15_000, 18_333), factor=0.1),
)
val_interval = 2_000

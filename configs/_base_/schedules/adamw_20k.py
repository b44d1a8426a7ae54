"""AdamW for 20k iterations of 16 images, for data sets of some hundreds to thousands of images."""

_base_ = ["./adamw_160k.py"]

# 20k iterations x 16 images = 320,000 images seen
schedule = dict(name="20k", iterations=20_000)
val_interval = 2_000

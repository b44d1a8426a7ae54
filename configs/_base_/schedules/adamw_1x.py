"""AdamW for 12 epochs, a tenth of the rate after 8 and after 11 (Swin)."""

_base_ = ["./adamw_3x.py"]

# 12 epochs x 117,266 images / 16 images = 88k iterations of COCO
schedule = dict(name="1x", epochs=12, steps=dict(at=(8, 11)))

"""AdamW for 12 epochs as Swin trains its detectors (the authors' configs)."""

_base_ = ["./swin_3x.py"]

# 12 epochs x 117,266 images / 16 images = 88k iterations of COCO
schedule = dict(name="1x", epochs=12, steps=dict(at=(8, 11)))

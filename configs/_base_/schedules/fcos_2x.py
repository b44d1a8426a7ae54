"""SGD for 24 epochs as mmdetection trains FCOS, a tenth of the rate after 16 and after 22."""

_base_ = ["./fcos_1x.py"]

# 24 epochs x 117,266 images / 16 images = 176k iterations of COCO
schedule = dict(name="2x", epochs=24, steps=dict(at=(16, 22)))

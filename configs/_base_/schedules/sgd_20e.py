"""SGD for 20 epochs, a tenth of the rate after 16 and after 19 (mmdetection, schedule_20e)."""

_base_ = ["./sgd_1x.py"]

# 20 epochs x 117,266 images / 16 images = 147k iterations of COCO
schedule = dict(name="20e", epochs=20, steps=dict(at=(16, 19)))

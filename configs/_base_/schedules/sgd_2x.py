"""SGD for 24 epochs, a tenth of the rate after 16 and after 22 (mmdetection, schedule_2x)."""

_base_ = ["./sgd_1x.py"]

# 24 epochs x 117,266 images / 16 images = 176k iterations of COCO
schedule = dict(name="2x", epochs=24, steps=dict(at=(16, 22)))

"""SGD for 36 epochs, a tenth of the rate after 27 and after 33 (mmdetection, ms_3x: there 12 epochs, decays after 9 and
after 11, of the data set taken three times)."""

_base_ = ["./sgd_1x.py"]

# 36 epochs x 117,266 images / 16 images = 264k iterations of COCO
schedule = dict(name="3x", epochs=36, steps=dict(at=(27, 33)))

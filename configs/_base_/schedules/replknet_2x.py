"""AdamW for 24 epochs as RepLKNet trains FCOS (the authors' config): a third of the rate for 500 iterations, a tenth
after 16 and after 22 epochs."""

_base_ = ["./replknet_3x.py"]

# 24 epochs x 117,266 images / 32 images = 88k iterations of COCO. The batch is not published; it is the one that goes
# with twice the learning rate of the recipes at 16.
total_batch = 32
schedule = dict(
    name="2x",
    epochs=24,
    warmup=dict(kind="constant", iterations=500, ratio=1 / 3),
    steps=dict(at=(16, 22)),
)

optim_wrapper = dict(optimizer=dict(lr=2e-4), clip_grad=dict(max_norm=35, norm_type=2))

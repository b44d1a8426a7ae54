"""AdamW for 36 epochs as RepLKNet trains its detectors (the authors' configs)."""

_base_ = ["./adamw_3x.py"]

# 36 epochs x 117,266 images / 64 images = 66k iterations of COCO. How many GPUs there were is not published; four times
# the batch goes with four times the learning rate of the recipes at 16, and 64 GPUs trained the authors' UperNet.
total_batch = 64

optim_wrapper = dict(
    optimizer=dict(lr=4e-4),
    # Every norm layer, those of the heads too; biases decay.
    paramwise_cfg=dict(no_weight_decay=["norms"]),
)

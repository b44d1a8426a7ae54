"""AdamW as RepLKNet trains UperNet on ADE20K (the authors' configs): 5.12 M images in batches of 32 to 128.

Results are published as "160k", the iterations at 32 images; 4 times the images need a quarter of the iterations.
"""

_base_ = ["./adamw_160k.py"]

# 160k iterations x 32 images / 20,210 images = 253 epochs of ADE20K
total_batch = 32

optim_wrapper = dict(
    optimizer=dict(lr=2e-4),
    # Every norm layer, those of the heads too; biases decay.
    paramwise_cfg=dict(no_weight_decay=["norms"]),
)

"""SGD for 12 epochs as mmdetection trains FCOS: a third of the rate for 500 iterations, gradients clipped, biases at
twice the rate and without decay."""

_base_ = ["./sgd_1x.py"]

schedule = dict(warmup=dict(kind="constant", iterations=500, ratio=1 / 3))

optim_wrapper = dict(
    optimizer=dict(lr=0.01),
    paramwise_cfg=dict(bias_lr_factor=2.0, no_weight_decay=["biases"]),
    clip_grad=dict(max_norm=35, norm_type=2),
)

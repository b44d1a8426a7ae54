"""The demo's small ConvNeXt: UperNet with heads of 128 channels on ConvNeXt V2 atto, for the ADE20K miniature.

    tools/train.py configs/demo/upernet_convnextv2_atto_ade20k.py --mini

Nothing is published for it; it starts from random weights. It shows the main job in minutes on two CPU cores.
"""

_base_ = ["../_base_/methods/upernet.py", "../_base_/datasets/ade20k.py", "../_base_/schedules/adamw_160k.py"]

model = dict(
    backbone=dict(type="convnextv2_atto", drop_path_rate=0.0),
    decode_head=dict(channels=128),
    auxiliary_head=dict(channels=64),
)
optim_wrapper = dict(optimizer=dict(lr=2e-3))

mini = dict(iterations=250, total_batch=4)

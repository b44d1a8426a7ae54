"""The demo's timm backbone: the same small UperNet on timm's ResNet-18, for the ADE20K miniature.

    tools/train.py configs/demo/upernet_timm_resnet18_ade20k.py --mini

Nothing is published for it; it starts from random weights.
"""

_base_ = ["./upernet_convnextv2_atto_ade20k.py"]

model = dict(backbone=dict(_delete_=True, type="TimmBackbone", model_name="resnet18"))

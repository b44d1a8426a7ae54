"""AdamW for 36 epochs as Swin trains its detectors (arXiv:2103.14030, appendix A2.2; the authors' configs)."""

_base_ = ["./adamw_3x.py"]

# By parts of names, as in the authors' configs: `norm` finds every LayerNorm of the backbone; batch norms are called
# `bn` and decay.
optim_wrapper = dict(
    paramwise_cfg=dict(no_weight_decay=["norm", "absolute_pos_embed", "relative_position_bias_table"]),
)

"""AdamW for 160k iterations as Swin trains UperNet (arXiv:2103.14030, appendix A2.3; the authors' configs)."""

_base_ = ["./adamw_160k.py"]

optim_wrapper = dict(
    optimizer=dict(lr=6e-5, weight_decay=0.01),
    # By parts of names, as in the authors' configs: `norm` finds every LayerNorm of the backbone; the batch norms of
    # the heads are called `bn` and decay.
    paramwise_cfg=dict(no_weight_decay=["norm", "absolute_pos_embed", "relative_position_bias_table"]),
)

"""Re-parameterized backbones at test time: small kernels and batch norms folded into the large kernel."""

from __future__ import annotations

from torch import nn


def merge_backbone(model: nn.Module, wanted: bool) -> bool | None:
    """Merge the backbone of a segmentor or detector, if wanted; outputs stay equal (RepLKNet, sec. 3, guideline 3).

    Returns whether the backbone is merged now, None where it has nothing to merge.
    """
    backbone = model.get_submodule("backbone")
    if not hasattr(backbone, "merge_reparameterization"):
        return None
    if wanted:
        backbone.merge_reparameterization()  # type: ignore[operator]
    return wanted

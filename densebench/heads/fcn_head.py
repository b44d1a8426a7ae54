"""The auxiliary head of segmentors."""

from mmengine.registry import MODELS
from mmseg.models.decode_heads import FCNHead

from densebench.heads.segmentation_loss import LoggedAccuracy


@MODELS.register_module()
class LeanFCNHead(LoggedAccuracy, FCNHead):
    """mmseg's FCNHead (arXiv:1411.4038): the same parameters, state dict and results; accuracy when it is logged."""

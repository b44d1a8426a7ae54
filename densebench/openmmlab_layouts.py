"""How OpenMMLab's toolboxes name the parameters of backbones that they host under names of their own, and our names.

Pure functions for `densebench.key_layouts`, each for one family in one toolbox.
"""

from __future__ import annotations

import re

from torch import Tensor

StateDict = dict[str, Tensor]


def from_mmseg_swin(state: StateDict) -> StateDict:
    """Swin of mmseg and mmdet, ImageNet or downstream, without what it derives from its sizes.

    Their merging takes the 2x2 patches channel by channel, (C, row, column); the authors' and ours patch by patch, by
    columns first: (column, row, C).
    """
    converted = {}
    for name, value in state.items():
        if name.endswith((".relative_position_index", ".attn_mask")):
            continue
        if ".downsample." in name:
            value = value.unflatten(-1, (-1, 2, 2)).transpose(-3, -1).flatten(-3)  # (..., 4 * C) -> (..., 4 * C)
        converted[name] = value
    return substituted(
        converted,
        (r"^stages\.", "layers."),
        (r"\.attn\.w_msa\.", ".attn."),
        (r"\.ffn\.layers\.0\.0\.", ".mlp.fc1."),
        (r"\.ffn\.layers\.1\.", ".mlp.fc2."),
        (r"^patch_embed\.projection\.", "patch_embed.proj."),
    )


def from_mmpretrain_replknet(state: StateDict) -> StateDict:
    """RepLKNet of mmpretrain in an ImageNet file, where the classifier's norm passes for that of the last level."""
    return substituted(state, (r"^stages\.3\.norm\.", "norm."))


def from_mmseg_resnet_v1c(state: StateDict) -> StateDict:
    """ResNet-C of mmseg: nine layers in `stem`, the last norm among them; ours are `conv1` and `bn1`, as timm's."""
    return substituted(state, (r"^stem\.7\.", "bn1."), (r"^stem\.", "conv1."))


def substituted(state: StateDict, *rules: tuple[str, str]) -> StateDict:
    """The same tensors with each rule (pattern, replacement) applied to their names, in order."""
    converted = {}
    for name, value in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        converted[name] = value
    return converted

"""Models without memory: for their shapes and operations alone."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from mmengine.registry import MODELS
from torch import nn

from backbones.layers.initial_values import on_meta_device


def build_on_meta(config: Mapping[str, Any]) -> tuple[nn.Module, str]:
    """A registered module on the meta device where it can be built there, else on the CPU, and which one it was.

    On the meta device no memory and no random numbers are spent on weights that are thrown away.
    """
    # mmdet's detectors write into the config that they are built from.
    try:
        with on_meta_device():
            return MODELS.build(copy.deepcopy(dict(config))), "meta"
    except RuntimeError:
        # Some models read values while they are built (drop rates from a tensor), which meta tensors do not have.
        return MODELS.build(copy.deepcopy(dict(config))), "cpu"

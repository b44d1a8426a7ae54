"""Models without memory: for their shapes and operations alone."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


def build_on_meta(config: Mapping[str, Any]) -> tuple[nn.Module, str]:
    """A registered module on the meta device where it can be built there, else on the CPU, and which one it was.

    On the meta device no memory and no random numbers are spent on weights that are thrown away.
    """
    # mmdet's detectors write into the config that they are built from.
    try:
        with torch.device("meta"), _WithoutValues():
            return MODELS.build(copy.deepcopy(dict(config))), "meta"
    except RuntimeError:
        # Some models read values while they are built (drop rates from a tensor), which meta tensors do not have.
        return MODELS.build(copy.deepcopy(dict(config))), "cpu"


# What initializations compute in place; on the meta device torch does so in Python, and imports torch._dynamo for it.
_IN_PLACE = (Tensor.uniform_, Tensor.normal_, Tensor.erfinv_, Tensor.mul_, Tensor.add_, Tensor.clamp_)


class _WithoutValues(TorchFunctionMode):
    """Leaves out the random weights of meta tensors, which have no values."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _IN_PLACE and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))

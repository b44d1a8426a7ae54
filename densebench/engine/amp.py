"""Mixed precision where the toolboxes' own does not start (training on a CPU) or spoils what needs full precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

# What segmentors and detectors call the parts that hold their layers. A cascade keeps a list under such a name.
PARTS = ("backbone", "neck", "decode_head", "auxiliary_head", "rpn_head", "bbox_head", "mask_head")


@OPTIM_WRAPPERS.register_module()
class Bfloat16OptimWrapper(OptimWrapper):
    """Trains the network's parts in bfloat16 (see `low_precision`); losses stay fp32, and no loss scale is needed.

    mmengine's AmpOptimWrapper insists on an accelerator, so the published fp16 recipes could not start on a CPU.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The context of one forward pass."""
        with super().optim_context(model), low_precision(model, torch.bfloat16):
            yield


@contextmanager
def low_precision(model: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Run the parts of a segmentor or detector under autocast; what a part returns is fp32.

    All between the parts keeps full precision: box decoding, suppression, mask pasting, softmax and losses. In
    bfloat16, whose numbers have 8 binary digits, a coordinate of 1000 pixels would be known to 4 pixels alone; mmdet's
    mask pasting does not even run.
    """
    parts = list(_parts(model))
    device_type = next(model.parameters()).device.type
    for part in parts:
        part.forward = _autocast(part.forward, device_type, dtype)
    try:
        yield
    finally:
        for part in parts:
            del part.forward  # the class's own shows again


def amp_dtype(device_type: str) -> torch.dtype:
    """What --amp stands for: fp16 on a GPU, as the published recipes, bfloat16 on a CPU, which has no fp16 kernels."""
    return torch.float16 if device_type == "cuda" else torch.bfloat16


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    for name, child in module.named_children():
        if name not in PARTS:
            yield from _parts(child)
        elif isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield child


def _autocast(forward: Callable[..., Any], device_type: str, dtype: torch.dtype) -> Callable[..., Any]:
    def in_low_precision(*arguments: Any, **options: Any) -> Any:
        with torch.autocast(device_type, dtype=dtype):
            result = forward(*arguments, **options)
        return _full_precision(result)

    return in_low_precision


def _full_precision(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, (list, tuple)):
        return type(value)(map(_full_precision, value))
    return value

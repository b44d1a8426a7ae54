"""torch.compile on the parts of a model whose inputs keep their shapes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

# Heads on regions see another number of regions for each image, and would be compiled anew.
PARTS = ("backbone", "neck", "decode_head", "rpn_head")


def compile_parts(model: nn.Module) -> list[str]:
    """Let the parts compile when they run first, and return their names; a one-stage detector's head is one of them."""
    names = [*PARTS, *(() if hasattr(model, "roi_head") else ("bbox_head",))]
    compiled = [name for name in names if isinstance(getattr(model, name, None), nn.Module)]
    for name in compiled:
        part: Any = model.get_submodule(name)
        # The instance's own attribute: mmseg calls `head.forward`, which nn.Module.compile does not reach.
        part.forward = torch.compile(part.forward)
    return compiled

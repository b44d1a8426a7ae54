"""Vision backbones for dense prediction, under names that configs, Python and the command line share.

A backbone turns images (N, 3, H, W) into a tuple of feature maps, finest first. Its attributes `out_channels`,
`out_strides` and `out_indices` describe the maps, and `layer_depth(parameter_name, decay_type, num_layers)` places
each parameter between 0 (stem) and num_layers + 1 (full learning rate) for layer-wise learning-rate decay.

Every module in this folder is imported, so that a new file with a `@register` line is all that a new family needs.
"""

from __future__ import annotations

import importlib
import pkgutil

from backbones.pyramid import PyramidBackbone
from backbones.registry import (
    TIMM_PREFIX,
    UnknownBackboneError,
    accepted_arguments,
    backbone_config,
    backbone_name,
    build,
    names,
    register,
)

__all__ = [
    "TIMM_PREFIX",
    "PyramidBackbone",
    "UnknownBackboneError",
    "accepted_arguments",
    "backbone_config",
    "backbone_name",
    "build",
    "names",
    "register",
]

for _module in sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg):
    importlib.import_module(f"{__name__}.{_module}")

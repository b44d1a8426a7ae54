"""One optimizer constructor for every backbone: a learning rate per layer, weight decay as the recipe says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from densebench.errors import DensebenchError

BACKBONE_PREFIX = "backbone."


@dataclass(frozen=True)
class ParameterSetting:
    """What the optimizer does with one parameter."""

    name: str
    depth: int
    lr_scale: float
    weight_decay: float


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDepthOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Groups parameters by depth; each group's rate is base_lr * decay_rate ** (num_layers + 1 - depth).

    The depth of a backbone parameter comes from the backbone's `layer_depth()`; necks and heads keep the full rate
    (ConvNeXt, appendix A.3). `paramwise_cfg` holds `decay_rate` (1.0 for none), `decay_type` (`layer_wise` or
    `stage_wise`), `num_layers`, `no_weight_decay`, the list of what is exempt (see `is_exempt`), and `bias_lr_factor`,
    by which biases other than those of norms learn faster (1.0 for not).
    """

    def add_params(self, params: list[dict[str, Any]], module: nn.Module, **kwargs: Any) -> None:
        """Append one group per (depth, rate, weight decay), in the order of the parameters."""
        groups: dict[tuple[int, float, float], dict[str, Any]] = {}
        parameters = dict(module.named_parameters())
        for setting in parameter_settings(module, self.base_wd or 0.0, self.paramwise_cfg):
            group = groups.setdefault(
                (setting.depth, setting.lr_scale, setting.weight_decay),
                {
                    "params": [],
                    "param_names": [],
                    "lr": self.base_lr * setting.lr_scale,
                    "lr_scale": setting.lr_scale,
                    "weight_decay": setting.weight_decay,
                },
            )
            group["params"].append(parameters[setting.name])
            group["param_names"].append(setting.name)
        params.extend(groups.values())


def parameter_settings(model: nn.Module, weight_decay: float, paramwise: dict[str, Any]) -> list[ParameterSetting]:
    """The depth, learning-rate scale and weight decay of every trainable parameter of a segmentor or detector.

    Raises:
        DensebenchError: layer-wise decay is asked of a backbone that does not order its layers.
    """
    decay_rate = paramwise.get("decay_rate", 1.0)
    num_layers = paramwise.get("num_layers", 0)
    bias_factor = paramwise.get("bias_lr_factor", 1.0)
    exempt = paramwise.get("no_weight_decay", ())
    norm_parameters = _norm_parameters(model)

    settings = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        depth = num_layers + 1
        if decay_rate != 1.0 and name.startswith(BACKBONE_PREFIX):
            depth = _backbone_depth(model, name.removeprefix(BACKBONE_PREFIX), paramwise)
        faster = bias_factor if is_bias(name, norm_parameters) else 1.0
        settings.append(
            ParameterSetting(
                name=name,
                depth=depth,
                lr_scale=decay_rate ** (num_layers + 1 - depth) * faster,
                weight_decay=0.0 if is_exempt(name, parameter, exempt, norm_parameters) else weight_decay,
            )
        )
    return settings


def is_exempt(name: str, parameter: torch.Tensor, rules: Any, norm_parameters: set[str]) -> bool:
    """Whether a parameter is exempt from weight decay.

    `one_dimensional` exempts vectors and biases (the ConvNeXt authors' constructor), `norms` the parameters of
    normalization layers (RepLKNet, Swin), `biases` the biases of all other layers (FCOS); any other rule is a part of
    the parameter's name (`relative_position_bias_table`).
    """
    for rule in rules:
        if rule == "one_dimensional":
            exempt = parameter.ndim == 1 or name.endswith(".bias")
        elif rule == "norms":
            exempt = name in norm_parameters
        elif rule == "biases":
            exempt = is_bias(name, norm_parameters)
        else:
            exempt = rule in name
        if exempt:
            return True
    return False


def is_bias(name: str, norm_parameters: set[str]) -> bool:
    """Whether a parameter is the bias of a layer that is no normalization."""
    return name.rpartition(".")[2] == "bias" and name not in norm_parameters


def _backbone_depth(model: nn.Module, name: str, paramwise: dict[str, Any]) -> int:
    backbone: Any = model.get_submodule("backbone")
    way_out = "train without it: --cfg-options optim_wrapper.paramwise_cfg.decay_rate=1.0"
    if not hasattr(backbone, "layer_depth"):
        raise DensebenchError(
            f"The recipe decays the learning rate by layer, but {type(backbone).__name__} has no method "
            f"layer_depth(parameter_name, decay_type, num_layers). Add it, or {way_out}"
        )
    num_layers = paramwise["num_layers"]
    try:
        depth: int = backbone.layer_depth(name, paramwise["decay_type"], num_layers)
    except ValueError as error:
        raise DensebenchError(f"{error} Mend layer_depth(), or {way_out}") from error
    if not 0 <= depth <= num_layers + 1:
        raise DensebenchError(
            f"{type(backbone).__name__}.layer_depth('{name}') gives {depth}; valid is 0 to {num_layers + 1}."
        )
    return depth


def _norm_parameters(model: nn.Module) -> set[str]:
    # Every norm layer of torch is one of these or has "Norm" in its class name, as timm's and ours have.
    return {
        f"{module_name}.{name}" if module_name else name
        for module_name, module in model.named_modules()
        if "Norm" in type(module).__name__
        for name, _ in module.named_parameters(recurse=False)
    }

"""Any timm model that gives a feature pyramid, under timm's own parameter names.

The model itself is kept whole but for its classifier, so that checkpoints and `group_matcher` of timm fit; its maps
are taken by timm's `forward_intermediates`.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import timm
import torch
from mmengine.registry import MODELS
from timm.models._manipulate import group_with_matcher
from torch import Tensor, nn

from backbones.registry import UnknownBackboneError

PYRAMID_STRIDES = (4, 8, 16, 32)


class NoPyramidError(ValueError):
    """The timm model gives no feature maps at strides 4, 8, 16 and 32."""


@MODELS.register_module()
class TimmBackbone(nn.Module):
    """A timm model as a backbone with maps at strides 4, 8, 16 and 32.

    Args:
        model_name: timm's name, with or without a weights tag (`resnet18`, `resnet18.a1_in1k`).
        drop_path_rate: passed on where the model knows it.
        pretrained: load timm's weights, over the network.
        model_arguments: further arguments of `timm.create_model`.

    Raises:
        UnknownBackboneError: timm has no such model.
        NoPyramidError: the model's maps do not reach all four strides.
    """

    def __init__(
        self,
        model_name: str,
        drop_path_rate: float | None = None,
        pretrained: bool = False,
        **model_arguments: Any,
    ) -> None:
        super().__init__()
        if drop_path_rate is not None:
            model_arguments["drop_path_rate"] = drop_path_rate
        _require_known(model_name)
        self.model = _create_for_any_size(model_name, pretrained, model_arguments)
        if not hasattr(self.model, "forward_intermediates"):
            raise NoPyramidError(
                f"timm/{model_name} has no forward_intermediates(), so its feature maps are out of reach; "
                "models of the same family in a newer timm may have it. Choose another model."
            )
        self.out_indices = _pyramid_indices(model_name, self.model.feature_info)
        # Later stages and heads cost parameters and time that no map needs.
        self.model.prune_intermediate_layers(list(self.out_indices), prune_norm=True, prune_head=True)
        info = [self.model.feature_info[index] for index in self.out_indices]
        self.out_channels = tuple(level["num_chs"] for level in info)
        self.out_strides = tuple(level["reduction"] for level in info)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one (N, out_channels[i], H / out_strides[i], W / out_strides[i]) per stride."""
        maps: list[Tensor] = self.model.forward_intermediates(
            x, indices=list(self.out_indices), output_fmt="NCHW", intermediates_only=True
        )
        return tuple(maps)

    def layer_depth(self, parameter_name: str, decay_type: str, num_layers: int) -> int:
        """Depth of a parameter for learning-rate decay, from timm's `group_matcher`.

        `stage_wise` takes timm's coarse groups as they are; `layer_wise` spreads its fine groups evenly over
        0..num_layers where there are more of them.

        Raises:
            ValueError: the model has no group_matcher, or a parameter that no group matches.
        """
        depths = self._group_ids(coarse=decay_type == "stage_wise")
        name = parameter_name.removeprefix("model.")
        if name not in depths:
            raise ValueError(f"timm's group_matcher places no parameter '{name}'; its groups do not cover it.")
        deepest = max(depths.values())
        if deepest <= num_layers:
            return depths[name]
        return round(depths[name] * num_layers / deepest)

    def _group_ids(self, coarse: bool) -> dict[str, int]:
        if not hasattr(self.model, "group_matcher"):
            raise ValueError(
                f"{type(self.model).__name__} of timm has no group_matcher, so its layers cannot be ordered; "
                "train without layer-wise decay: --cfg-options optim_wrapper.paramwise_cfg.decay_rate=1.0"
            )
        # A name that no group can match marks the group into which timm puts what it cannot place.
        unmatched = "\0unmatched"
        named = [(name, None) for name, _ in self.model.named_parameters()] + [(unmatched, None)]
        ids: dict[str, int] = group_with_matcher(named, self.model.group_matcher(coarse=coarse), reverse=True)
        nowhere = ids.pop(unmatched)
        return {name: group for name, group in ids.items() if group != nowhere}


def timm_accepts(model_name: str, argument: str, value: Any) -> bool:
    """Whether `timm.create_model(model_name)` knows an argument; built without memory on the meta device.

    Raises:
        UnknownBackboneError: timm has no such model.
    """
    _require_known(model_name)
    try:
        with torch.device("meta"):
            timm.create_model(model_name, **{argument: value})
    except TypeError as error:
        if argument in str(error):
            return False
        raise
    return True


def _create_for_any_size(model_name: str, pretrained: bool, arguments: dict[str, Any]) -> Any:
    # Window transformers check the image size, and plain ones resample their position table, only when told so.
    for flexible in ({"strict_img_size": False}, {"dynamic_img_size": True}):
        (argument,) = flexible
        if timm_accepts(model_name, argument, flexible[argument]):
            arguments = {**arguments, **flexible}
    return timm.create_model(model_name, pretrained=pretrained, num_classes=0, **arguments)


def _require_known(model_name: str) -> None:
    base = model_name.split(".")[0]
    if timm.is_model(base):
        return
    near = difflib.get_close_matches(base, timm.list_models(), n=5, cutoff=0.5)
    raise UnknownBackboneError(
        f"timm {timm.__version__} has no model '{model_name}'; "
        f"near matches: {', '.join('timm/' + name for name in near) or 'none'}."
    )


def _pyramid_indices(model_name: str, feature_info: Sequence[dict[str, Any]]) -> tuple[int, ...]:
    """The last feature index at each of the pyramid's strides."""
    last_at = {level["reduction"]: index for index, level in enumerate(feature_info)}
    missing = [stride for stride in PYRAMID_STRIDES if stride not in last_at]
    if not missing:
        return tuple(last_at[stride] for stride in PYRAMID_STRIDES)
    flat = len(last_at) == 1
    raise NoPyramidError(
        f"timm/{model_name} gives feature maps at strides {sorted(last_at)}, but the dense-prediction heads need "
        f"strides {list(PYRAMID_STRIDES)}. "
        + ("It is a flat model with one resolution throughout. " if flat else "")
        + "Choose a model with four levels (timm/convnext_tiny, timm/swin_tiny_patch4_window7_224, timm/resnet50, ...)."
    )

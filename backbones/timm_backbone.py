"""Any timm model that gives feature maps of images of any size, under timm's own parameter names.

The model is kept whole but for its classifier and what follows its last map, so that checkpoints and `group_matcher` of
timm fit; its maps are taken by timm's `forward_intermediates`. Sizes are made free by timm's own switches where a
model has them, and by padding to the multiple that the model needs else. A plain vision transformer, or another model
of one resolution, gets a simple feature pyramid (`SimpleFeaturePyramid`) on its last map, after its final norm.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import timm
import torch
from mmengine.registry import MODELS
from torch import Tensor

from backbones.layers.image_size import crop_to_image, pad_to_multiple
from backbones.layers.initial_values import on_meta_device
from backbones.layers.simple_feature_pyramid import PYRAMID_STRIDES, SimpleFeaturePyramid
from backbones.pyramid import PyramidBackbone
from backbones.registry import UnknownBackboneError

# timm's switches for images of other sizes than the pretraining's; a model knows one of them, or none.
FLEXIBLE_SIZE: tuple[dict[str, bool], ...] = ({"strict_img_size": False}, {"dynamic_img_size": True})


class NoPyramidError(ValueError):
    """The timm model gives no feature maps at strides 4, 8, 16 and 32."""


class FixedInputSizeError(NoPyramidError):
    """The timm model does not give them for images of any size, not even padded ones."""


@MODELS.register_module()
class TimmBackbone(PyramidBackbone):
    """A timm model as a backbone with maps at strides 4, 8, 16 and 32.

    Args:
        model_name: timm's name, with or without a weights tag (`resnet18`, `resnet18.a1_in1k`).
        drop_path_rate: passed on where the model knows it.
        pretrained: load timm's weights, over the network.
        frozen_stages: see `PyramidBackbone`; stages are timm's coarse groups, which in a plain transformer are blocks.
        model_arguments: further arguments of `timm.create_model`.

    Raises:
        UnknownBackboneError: timm has no such model.
        NoPyramidError: the model's maps do not reach all four strides, and are not of one stride either.
        FixedInputSizeError: the model is bound to one size of images.
        TypeError: an argument that the model does not know.
    """

    def __init__(
        self,
        model_name: str,
        drop_path_rate: float | None = None,
        pretrained: bool = False,
        frozen_stages: int = -1,
        **model_arguments: Any,
    ) -> None:
        super().__init__()
        if drop_path_rate is not None:
            model_arguments["drop_path_rate"] = drop_path_rate
        _require_known(model_name)
        for switch in FLEXIBLE_SIZE:
            ((argument, value),) = switch.items()
            if timm_accepts(model_name, argument, value):
                model_arguments |= switch

        with on_meta_device():
            twin = _create(model_name, False, model_arguments)
        self.map_indices = _map_indices(model_name, twin.feature_info)
        self.is_flat = len(self.map_indices) == 1
        self.map_strides = tuple(twin.feature_info[index]["reduction"] for index in self.map_indices)
        self.multiple, channels = _probe(model_name, twin, self.map_indices, self.map_strides)

        self.model = _create(model_name, pretrained, model_arguments)
        if self.is_flat:
            self.pyramid = SimpleFeaturePyramid(channels[0], self.map_strides[0])
            self.out_indices = tuple(range(len(PYRAMID_STRIDES)))
            self.out_channels = self.pyramid.out_channels
        else:
            self.out_indices, self.out_channels = self.map_indices, channels
        self.out_strides = PYRAMID_STRIDES
        self._depths = _groups(self.model, coarse=False)
        self._stages = _groups(self.model, coarse=True)
        if frozen_stages >= 0:
            self.freeze(frozen_stages)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one (N, out_channels[i], H / out_strides[i], W / out_strides[i]) per stride."""
        image_size = (x.shape[2], x.shape[3])
        if self.is_flat:
            x = pad_to_multiple(x, self.pyramid.stride)
        maps: Sequence[Tensor] = _maps(self.model, self.map_indices, pad_to_multiple(x, self.multiple))
        if self.is_flat:
            maps = self.pyramid(maps[0])
        return crop_to_image(maps, self.out_strides, image_size)

    def layer_depth(self, parameter_name: str, decay_type: str, num_layers: int) -> int:
        """Depth of a parameter for learning-rate decay, from timm's `group_matcher`.

        `stage_wise` takes timm's coarse groups as they are, `layer_wise` its fine ones; both are spread evenly over
        0..num_layers where there are more of them. A pyramid is new downstream and keeps the full rate,
        num_layers + 1.

        Raises:
            ValueError: the model has no group_matcher, a parameter that no group matches, or another decay type.
        """
        if decay_type not in ("layer_wise", "stage_wise"):
            raise ValueError(f"decay_type is 'layer_wise' or 'stage_wise', not '{decay_type}'.")
        if self._is_in_pyramid(parameter_name):
            return num_layers + 1
        groups = self._stages if decay_type == "stage_wise" else self._depths
        group, deepest = self._group(parameter_name, groups), max(groups.values())
        return group if deepest <= num_layers else round(group * num_layers / deepest)

    def stage_of(self, parameter_name: str) -> int:
        """See `PyramidBackbone.stage_of`; timm's coarse group, and one more for a pyramid."""
        if self._is_in_pyramid(parameter_name):
            return max(self._stages.values(), default=0) + 1
        return self._group(parameter_name, self._stages)

    def _is_in_pyramid(self, parameter_name: str) -> bool:
        return self.is_flat and parameter_name.startswith("pyramid.")

    def _group(self, parameter_name: str, groups: dict[str, int]) -> int:
        name = parameter_name.removeprefix("model.")
        if not groups:
            raise ValueError(
                f"{type(self.model).__name__} of timm has no such group_matcher, so its layers cannot be ordered "
                f"(asked for '{name}'); train without frozen stages and without layer-wise decay: "
                "--cfg-options optim_wrapper.paramwise_cfg.decay_rate=1.0"
            )
        if name not in groups:
            raise ValueError(f"timm's group_matcher places no parameter '{name}'; its groups do not cover it.")
        return groups[name]


def timm_accepts(model_name: str, argument: str, value: Any) -> bool:
    """Whether `timm.create_model(model_name)` knows an argument; built without memory on the meta device.

    Raises:
        UnknownBackboneError: timm has no such model.
    """
    _require_known(model_name)
    try:
        with on_meta_device():
            timm.create_model(model_name, **{argument: value})
    except TypeError as error:
        if argument in str(error):
            return False
        raise
    return True


def _require_known(model_name: str) -> None:
    base, _, tag = model_name.partition(".")
    if not timm.is_model(base):
        near = difflib.get_close_matches(base, timm.list_models(), n=5, cutoff=0.5)
        raise UnknownBackboneError(
            f"timm {timm.__version__} has no model '{model_name}'; "
            f"near matches: {', '.join('timm/' + name for name in near) or 'none'}."
        )
    tags = [name.partition(".")[2] for name in timm.models.get_arch_pretrained_cfgs(base)]
    if tag and tag not in tags:
        raise UnknownBackboneError(
            f"timm {timm.__version__} has no weights '{tag}' of the model '{base}'; there are: "
            f"{', '.join(filter(None, tags)) or 'none'}."
        )


def _create(model_name: str, pretrained: bool, arguments: dict[str, Any]) -> Any:
    """The model without what no map needs: the classifier, later stages, and the final norm of a pyramid."""
    model = timm.create_model(model_name, pretrained=pretrained, num_classes=0, **arguments)
    if not hasattr(model, "forward_intermediates"):
        raise NoPyramidError(
            f"timm/{model_name} has no forward_intermediates() in timm {timm.__version__}, so its feature maps are out "
            "of reach; a newer timm may have it. Choose another model."
        )
    indices = _map_indices(model_name, model.feature_info)
    model.prune_intermediate_layers(list(indices), prune_norm=len(indices) > 1, prune_head=True)
    for module in model.modules():
        # Some models pass neither of timm's switches on to the patch embedding, but need no more than that.
        if getattr(module, "strict_img_size", False):
            module.strict_img_size = False
    return model


def _map_indices(model_name: str, feature_info: Sequence[dict[str, Any]]) -> tuple[int, ...]:
    """The last feature index at each of the pyramid's strides; of a flat model the last of all.

    Raises:
        NoPyramidError: some strides are missing.
    """
    last_at = {level["reduction"]: index for index, level in enumerate(feature_info)}
    if len(last_at) == 1:
        return tuple(last_at.values())
    if set(PYRAMID_STRIDES) <= set(last_at):
        return tuple(last_at[stride] for stride in PYRAMID_STRIDES)
    raise NoPyramidError(
        f"timm/{model_name} gives feature maps at strides {sorted(last_at)}, but the dense-prediction heads need "
        f"strides {list(PYRAMID_STRIDES)}, or one map that a pyramid can be built on. Choose a model with four levels "
        "(timm/convnext_tiny, timm/swin_tiny_patch4_window7_224, timm/resnet50, ...) or a plain transformer."
    )


def _probe(model_name: str, model: Any, indices: Sequence[int], strides: Sequence[int]) -> tuple[int, tuple[int, ...]]:
    """The least multiple of pixels that the model takes at any height and width, and the channels of its maps.

    Tried on a model without memory: no padding, each of its strides and twice the coarsest, and the size of its
    pretraining, to which the windows of MaxViT and its like are bound.

    Raises:
        FixedInputSizeError: none of them works.
    """
    native_size = model.pretrained_cfg["input_size"][-1]
    multiples = sorted({*strides, 2 * max(strides), native_size, strides[0] if len(strides) == 1 else 1})
    failure = ""
    for multiple in multiples:
        # Two sizes of other proportions, odd where they may be, and large enough for two rows at stride 32.
        height, width = (-(-length // multiple) * multiple for length in (65, 97))
        try:
            for size in ((height, width), (2 * height, 3 * width)):
                with torch.no_grad():
                    maps = _maps(model.eval(), indices, torch.empty(2, 3, *size, device="meta"))
                _require_sizes(maps, strides, size)
        except (RuntimeError, AssertionError, ValueError, IndexError) as error:
            failure = f"{size[0]}x{size[1]} pixels ({str(error) or type(error).__name__})"
            continue
        return multiple, tuple(level.shape[1] for level in maps)
    raise FixedInputSizeError(
        f"timm/{model_name} does not give its maps (strides {', '.join(map(str, strides))}) for images of any size, as "
        f"dense prediction needs; its own size is {native_size}x{native_size} pixels. Multiples of "
        f"{', '.join(map(str, multiples))} pixels were tried; the last trial failed at {failure}. "
        "Choose a model that takes any size (timm/convnext_tiny, timm/swin_tiny_patch4_window7_224, ...)."
    )


def _require_sizes(maps: Sequence[Tensor], strides: Sequence[int], image_size: tuple[int, int]) -> None:
    for level, stride in zip(maps, strides, strict=True):
        for found, length in zip(level.shape[2:], image_size, strict=True):
            if found not in (length // stride, -(-length // stride)):
                raise ValueError(f"the map at stride {stride} is {tuple(level.shape[2:])}")


def _maps(model: Any, indices: Sequence[int], images: Tensor) -> list[Tensor]:
    """(N, 3, H, W) -> one (N, C, h, w) per index; the single map of a flat model comes after its final norm."""
    maps: list[Tensor] = model.forward_intermediates(
        images, indices=list(indices), norm=len(indices) == 1, output_fmt="NCHW", intermediates_only=True
    )
    return maps


def _groups(model: Any, coarse: bool) -> dict[str, int]:
    """The group of each parameter that timm's `group_matcher` places, from 0; empty where the model has no such."""
    if not hasattr(model, "group_matcher"):
        return {}
    from timm.models._manipulate import group_with_matcher  # here, because timm's models take a second to import

    try:
        matcher = model.group_matcher(coarse=coarse)
    except AssertionError:  # RDNet: coarse groups "not implemented"
        return {}
    # A name that no group can match marks the group into which timm puts what it cannot place.
    unmatched = "\0unmatched"
    named = [(name, None) for name, _ in model.named_parameters()] + [(unmatched, None)]
    ids: dict[str, int] = group_with_matcher(named, matcher, reverse=True)
    nowhere = ids.pop(unmatched)
    return {name: group for name, group in ids.items() if group != nowhere}

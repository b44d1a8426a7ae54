"""How released checkpoints name a backbone's parameters, and our names for them.

Ours are the authors' names, so most released files need no more than their prefixes off. `LAYOUTS` lists the layouts
that we know, each recognized by names that it alone has, each with a pure function to our names. What depends on the
backbone at hand, not on the names (window sizes, batch counters), is `fitted`.

Heads need no mapping. The parameters of UPerHead and FCNHead in mmseg 0 and of FPN, RPNHead, FCOSHead, the box and mask
heads and their lists of three in a cascade in mmdet 2 (the releases in the Swin repositories, which those of ConvNeXt
and RepLKNet build on) have the names and shapes of mmseg 1 and mmdet 3; only what stands under `backbone.` differs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from backbones.mobilenet import name_from_timm, name_from_torchvision
from backbones.swin import swin_state
from densebench.errors import DensebenchError
from densebench.openmmlab_layouts import (
    StateDict,
    from_mmpretrain_replknet,
    from_mmseg_resnet_v1c,
    from_mmseg_swin,
    substituted,
)

# What training codes put before a backbone's names: distributed training, the toolboxes, FCMAE and SimMIM.
PREFIXES = ("module.", "backbone.", "encoder.")
TIMM_PREFIX = "model."  # what our timm backbones keep timm's model under

# The last ones are the 1x1 convolution to 1280 channels of MobileNetV2 and its norm, in timm and in torchvision.
_CLASSIFIER = re.compile(r"(model\.)?(head|norm|fc|classifier|norm_pre|conv_head|bn2|features\.18)\..*")
_SWIN_TABLE = r"layers\.\d+\.blocks\.\d+\.attn\.relative_position_bias_table"


@dataclass(frozen=True)
class Layout:
    """One way to name the parameters of a family.

    `present` are patterns that each match some name of the layout, `absent` patterns that match none; `to_ours` maps a
    state dict without prefixes.
    """

    name: str
    present: tuple[str, ...]
    to_ours: Callable[[StateDict], StateDict]
    absent: tuple[str, ...] = ()

    def recognizes(self, names: Collection[str]) -> bool:
        """Whether a file with these names is of the layout."""

        def found(pattern: str) -> bool:
            return any(re.fullmatch(pattern, name) for name in names)

        return all(map(found, self.present)) and not any(map(found, self.absent))


def for_backbone(state: StateDict, own: Mapping[str, Tensor]) -> tuple[StateDict, str | None]:
    """A file's state dict under the names of a backbone, fit for it, and the layout that was recognized.

    `own` is the backbone's state dict; on the meta device it does as well.

    Raises:
        DensebenchError: RepLKNet with merged kernels in a file and branches in the backbone, or the other way round.
    """
    outer = TIMM_PREFIX if _has_prefix(own, TIMM_PREFIX) else ""
    inner = {name.removeprefix(outer): value for name, value in own.items()}
    renamed, layout = to_backbone_names(state, inner)
    return {name if name in own else outer + name: value for name, value in fitted(renamed, inner).items()}, layout


def for_model(state: StateDict, own: Mapping[str, Tensor]) -> tuple[StateDict, str | None]:
    """`for_backbone` for a segmentor or detector: heads keep their names, what stands under `backbone.` is mapped."""
    state = {name.removeprefix("module."): value for name, value in state.items()}
    part, own_part = (
        {name.removeprefix("backbone."): value for name, value in whole.items() if name.startswith("backbone.")}
        for whole in (state, own)
    )
    heads = {name: value for name, value in state.items() if not name.startswith("backbone.")}
    renamed, layout = for_backbone(part, own_part)
    return {f"backbone.{name}": value for name, value in renamed.items()} | heads, layout


def to_backbone_names(state: StateDict, own: Collection[str] = ()) -> tuple[StateDict, str | None]:
    """The backbone's part of a state dict under our names, and the layout that was recognized.

    Names of a layout that we do not know stay, and so do those of a layout in which the backbone's `own` names are
    (timm's, for a timm backbone).
    """
    state = backbone_part(state, own)
    layout = recognize(state)
    if layout is None:
        return state, None
    return state if layout is recognize(own) else layout.to_ours(state), layout.name


def backbone_part(state: StateDict, own: Collection[str] = ()) -> StateDict:
    """What stands under the prefixes of training codes, without them; all, where a file has none.

    Downstream checkpoints hold heads as well, pretraining ones decoders, which are left out. A prefix that the
    backbone's `own` names have is part of the name.
    """
    for prefix in PREFIXES:
        if _has_prefix(state, prefix) and not _has_prefix(own, prefix):
            state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    # Beside timm's model, a backbone of ours may have a pyramid.
    return {name.removeprefix(TIMM_PREFIX): value for name, value in state.items()}


def is_classifier(name: str) -> bool:
    """Whether a parameter that a backbone has no place for is one of the ImageNet classifier, and so expected."""
    return _CLASSIFIER.fullmatch(name) is not None


def recognize(names: Collection[str]) -> Layout | None:
    """The layout of names without prefixes; None for one that we do not know."""
    return next((layout for layout in LAYOUTS if layout.recognizes(names)), None)


def fitted(state: StateDict, own: Mapping[str, Tensor]) -> StateDict:
    """Renamed tensors, made fit for the backbone whose state dict is `own`.

    Swin's position tables are resized to its window, what it derives from its sizes is left out. Batch norms of files
    from before torch 0.4.1 (torchvision's older ResNets) get the counter that they lack, at 0.

    Raises:
        DensebenchError: RepLKNet, merged on one side alone.
    """
    _require_same_form(state, own)
    tables: StateDict = {}
    for name, table in own.items():
        if name in state and re.fullmatch(_SWIN_TABLE, name):
            window_size = (round(len(table) ** 0.5) + 1) // 2  # a table has (2 * window - 1) ** 2 rows
            tables |= swin_state({name: state[name]}, window_size)
    counters = {
        name: torch.zeros((), dtype=torch.int64)
        for name in own
        if name.endswith(".num_batches_tracked")
        and name not in state
        and name.replace("num_batches_tracked", "running_mean") in state
    }
    return {name: value for name, value in state.items() if name in own or not _is_derived(name)} | tables | counters


def from_sparse_convnext(state: StateDict) -> StateDict:
    """ConvNeXt V2 as FCMAE pretrains it: sparse convolutions and norms, layers wrapped for sparse tensors.

    A k x k kernel is kept as (k * k, C) depthwise, else as (k * k, C_in, C_out), the column being the slow index of
    its positions; biases of convolutions and GRN's parameters as (1, C).
    """
    converted = {}
    for name, value in state.items():
        name = re.sub(r"\.(ln|linear)\.", ".", name)
        if name.endswith(".kernel"):
            name = name.removesuffix("kernel") + "weight"
            size = round(len(value) ** 0.5)
            value = value.unflatten(0, (size, size))  # (k * k, ...) -> (column, row, ...)
            value = value.permute(2, 1, 0).unsqueeze(1) if value.ndim == 3 else value.permute(3, 2, 1, 0)
        elif name.endswith(".bias"):
            value = value.flatten()
        converted[name] = value
    return _with_convnext_shapes(converted)


def from_mmpretrain_convnext(state: StateDict) -> StateDict:
    """ConvNeXt of mmpretrain (and mmcls), also inside mmseg's and mmdet's models.

    In an ImageNet file, known by the lack of `norm0` to `norm2`, the classifier's norm is called `norm3`. It would pass
    for our output norm, which the authors' recipes start anew.
    """
    if not any(f"norm{level}.weight" in state for level in range(3)):
        state = {re.sub(r"^norm3\.", "norm.", name): value for name, value in state.items()}
    return _with_convnext_shapes({official_convnext_name(name): value for name, value in state.items()})


def official_convnext_name(name: str) -> str:
    """A parameter name of mmpretrain's ConvNeXt as the authors name it; other names stay as they are."""
    name = re.sub(r"\.depthwise_conv\.", ".dwconv.", name)
    return re.sub(r"\.pointwise_conv([12])\.", r".pwconv\1.", name)


def from_timm_convnext(state: StateDict) -> StateDict:
    """ConvNeXt and ConvNeXt V2 of timm."""
    return _with_convnext_shapes(
        substituted(
            state,
            (r"^stem\.", "downsample_layers.0."),
            (r"^stages\.(\d+)\.downsample\.", r"downsample_layers.\1."),
            (r"^stages\.(\d+)\.blocks\.", r"stages.\1."),
            (r"\.conv_dw\.", ".dwconv."),
            (r"\.mlp\.fc([12])\.", r".pwconv\1."),
            (r"\.mlp\.grn\.weight$", ".grn.gamma"),
            (r"\.mlp\.grn\.bias$", ".grn.beta"),
            (r"^(head\.norm|norm_pre)\.", "norm."),
            (r"^head\.fc\.", "head."),
        )
    )


def from_swin(state: StateDict) -> StateDict:
    """Swin of its authors, ImageNet or downstream, without what it derives from its sizes and keeps all the same."""
    return {name: value for name, value in state.items() if not _is_derived(name)}


def from_timm_swin(state: StateDict) -> StateDict:
    """Swin of timm, where a merging opens the stage that it leads to; the authors' closes the stage before."""

    def in_stage_before(match: re.Match[str]) -> str:
        return f"layers.{int(match[1]) - 1}.downsample."

    moved = {re.sub(r"^layers\.(\d+)\.downsample\.", in_stage_before, name): value for name, value in state.items()}
    return from_swin(substituted(moved, (r"^head\.fc\.", "head.")))


def from_other_mobilenet(name_from: Callable[[str], str | None], state: StateDict) -> StateDict:
    """MobileNetV2 under another library's names; `name_from` knows them, but for the classifier's, which stay."""
    return {name_from(name) or name: value for name, value in state.items()}


_RESNET_BLOCK = r"layer1\.0\.conv1\.weight"

# `dict` where names and tensors stay as they are.
LAYOUTS = (
    Layout("ConvNeXt (authors)", (r"downsample_layers\.0\.0\.weight", r"stages\.0\.0\.dwconv\.weight"), dict),
    Layout("ConvNeXt V2, FCMAE pretraining (authors)", (r"stages\.0\.0\.dwconv\.kernel",), from_sparse_convnext),
    Layout("ConvNeXt (mmpretrain)", (r"stages\.0\.0\.depthwise_conv\.weight",), from_mmpretrain_convnext),
    Layout(
        "ConvNeXt (timm)",
        (r"stem\.0\.weight", r"stages\.0\.blocks\.0\.conv_dw\.weight", r"stages\.0\.blocks\.0\.mlp\.fc1\.weight"),
        from_timm_convnext,
        absent=(r".*\.xca\..*",),  # EdgeNeXt
    ),
    Layout("isotropic ConvNeXt (authors)", (r"stem\.weight", r"blocks\.0\.dwconv\.weight"), dict),
    Layout(
        "RepLKNet (mmpretrain)",
        (r"stages\.0\.blocks\.0\.large_kernel\..*", r"stages\.3\.norm\.weight"),
        from_mmpretrain_replknet,
        absent=(r"stages\.[012]\.norm\..*",),  # with these, it has output norms, as the authors' downstream XL
    ),
    Layout("RepLKNet (authors)", (r"stages\.0\.blocks\.0\.large_kernel\..*",), dict),
    Layout("Swin (timm)", (_SWIN_TABLE, r"layers\.3\.downsample\.reduction\.weight"), from_timm_swin),
    Layout("Swin (authors)", (_SWIN_TABLE, r"layers\.0\.downsample\.reduction\.weight"), from_swin),
    Layout("Swin (mmseg)", (r"stages\.0\.blocks\.0\.attn\.w_msa\..*",), from_mmseg_swin),
    Layout("ResNet (torchvision, timm)", (_RESNET_BLOCK, r"conv1(\.0)?\.weight"), dict),
    Layout(
        "MobileNetV2 (timm)",
        (r"conv_stem\.weight", r"blocks\.0\.0\.conv_pw\.weight", r"blocks\.5\.2\.conv_pwl\.weight"),
        partial(from_other_mobilenet, name_from_timm),
        absent=(r".*\.se\..*", r"blocks\.5\.3\..*"),  # EfficientNet and its kin
    ),
    Layout(
        "MobileNetV2 (torchvision)",
        (r"features\.17\.conv\.2\.weight",),
        partial(from_other_mobilenet, name_from_torchvision),
    ),
    Layout("ResNet-C (mmseg)", (_RESNET_BLOCK, r"stem\.0\.weight"), from_mmseg_resnet_v1c),
)


def _with_convnext_shapes(state: StateDict) -> StateDict:
    """Pointwise convolutions as matrices, GRN's parameters as (1, 1, 1, C)."""
    return {
        name: value.flatten(1)
        if re.search(r"\.pwconv[12]\.weight$", name)
        else value.reshape(1, 1, 1, -1)
        if ".grn." in name
        else value
        for name, value in state.items()
    }


def _is_derived(name: str) -> bool:
    return name.endswith((".relative_position_index", ".attn_mask"))


def _require_same_form(state: Collection[str], own: Collection[str]) -> None:
    merged, own_merged = (any(".lkb_reparam." in name for name in names) for names in (state, own))
    branches, own_branches = (any(".lkb_origin." in name for name in names) for names in (state, own))
    if merged and own_branches:
        raise DensebenchError(
            "The file holds RepLKNet with its small kernels merged (lkb_reparam), the backbone has the branches that "
            "training needs; merged kernels cannot be taken apart. Name the file from before merging, or, to test "
            "alone, call merge_reparameterization(fold_norms=False) on the backbone first."
        )
    if branches and own_merged:
        raise DensebenchError(
            "The backbone's small kernels are merged (lkb_reparam), the file's are not. Load it first, then merge."
        )


def _has_prefix(names: Collection[str], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in names)

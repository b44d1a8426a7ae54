"""Names and shapes of the tensors in released files, by rule.

The rules were checked, name by name and shape by shape, against the state dicts of the authors' models: ConvNeXt, its
isotropic form, ConvNeXt V2 and FCMAE, RepLKNet and Swin, and the heads of mmseg 0 and mmdet 2 that the Swin
repositories hold.
"""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


def tensors(shapes: Shapes, device: str = "meta") -> dict[str, Tensor]:
    return {
        name: torch.zeros((), dtype=torch.int64) if shape == () else torch.randn(shape, device=device)
        for name, shape in shapes.items()
    }


def affine(name: str, *weight: int) -> Shapes:
    """A layer with weight and bias; the bias is as long as the weight's first side."""
    return {f"{name}.weight": weight, f"{name}.bias": weight[:1]}


def batch_norm(name: str, channels: int) -> Shapes:
    statistics = {f"{name}.running_mean": (channels,), f"{name}.running_var": (channels,)}
    return {**affine(name, channels), **statistics, f"{name}.num_batches_tracked": ()}


def conv_bn(name: str, *weight: int) -> Shapes:
    return {f"{name}.conv.weight": weight, **batch_norm(f"{name}.bn", weight[0])}


def classifier(channels: int) -> Shapes:
    return affine("norm", channels) | affine("head", 1000, channels)


def convnext(depths: Sequence[int], dims: Sequence[int], grn: bool = False, outputs: bool = False) -> Shapes:
    """ConvNeXt and V2 of the authors: ImageNet, or downstream with output norms."""
    shapes = affine("downsample_layers.0.0", dims[0], 3, 4, 4) | affine("downsample_layers.0.1", dims[0])
    for stage in (1, 2, 3):
        shapes |= affine(f"downsample_layers.{stage}.0", dims[stage - 1])
        shapes |= affine(f"downsample_layers.{stage}.1", dims[stage], dims[stage - 1], 2, 2)
    for stage, (depth, dim) in enumerate(zip(depths, dims, strict=True)):
        for block in range(depth):
            shapes |= convnext_block(f"stages.{stage}.{block}", dim, grn)
            shapes |= {} if grn else {f"stages.{stage}.{block}.gamma": (dim,)}
    if outputs:
        return functools.reduce(dict.__or__, (affine(f"norm{i}", dim) for i, dim in enumerate(dims)), shapes)
    return shapes | classifier(dims[-1])


def convnext_block(name: str, dim: int, grn: bool) -> Shapes:
    shapes = affine(f"{name}.dwconv", dim, 1, 7, 7) | affine(f"{name}.norm", dim)
    shapes |= affine(f"{name}.pwconv1", 4 * dim, dim) | affine(f"{name}.pwconv2", dim, 4 * dim)
    return shapes | ({f"{name}.grn.{kind}": (1, 1, 1, 4 * dim) for kind in ("gamma", "beta")} if grn else {})


def isotropic(depth: int, dim: int) -> Shapes:
    shapes = affine("stem", dim, 3, 16, 16) | classifier(dim)
    return functools.reduce(dict.__or__, (convnext_block(f"blocks.{i}", dim, False) for i in range(depth)), shapes)


def fcmae(depths: Sequence[int], dims: Sequence[int]) -> Shapes:
    """V2 as pretrained: the sparse encoder, and a decoder with a block of its own."""
    shapes: Shapes = {"mask_token": (1, 512, 1, 1)}
    for name, shape in convnext(depths, dims, grn=True).items():
        module, _, kind = name.rpartition(".")
        is_stem = name.startswith("downsample_layers.0.")
        if name.startswith(("norm.", "head.")):
            continue
        if ".grn." in name:
            shape = (1, shape[-1])
        elif ".pwconv" in name:
            name = f"{module}.linear.{kind}"
        elif ".norm." in name or (name.startswith("downsample_layers") and name[19:21] == ".0" and not is_stem):
            name = f"{module}.ln.{kind}"
        elif not is_stem and kind == "bias":
            shape = (1, *shape)
        elif not is_stem:
            name, size = f"{module}.kernel", shape[-1] ** 2
            shape = (size, shape[0]) if ".dwconv." in name else (size, shape[1], shape[0])
        shapes[f"encoder.{name}"] = shape
    shapes |= affine("proj", 512, dims[-1], 1, 1) | affine("pred", 3072, 512, 1, 1)
    return shapes | convnext_block("decoder.0", 512, grn=True)


def replknet(dims: Sequence[int], kernels: Sequence[int], small: int | None, ratio: float, outputs: bool) -> Shapes:
    stem = [(dims[0], 3, 3, 3), (dims[0], 1, 3, 3), (dims[0], dims[0], 1, 1), (dims[0], 1, 3, 3)]
    shapes: Shapes = {}
    for layer, weight in enumerate(stem):
        shapes |= conv_bn(f"stem.{layer}", *weight)
    for stage, (dim, kernel, depth) in enumerate(zip(dims, kernels, (2, 2, 18, 2), strict=True)):
        inner = int(dim * ratio)
        for pair in range(depth):
            block, ffn = f"stages.{stage}.blocks.{2 * pair}", f"stages.{stage}.blocks.{2 * pair + 1}"
            shapes |= batch_norm(f"{block}.prelkb_bn", dim) | batch_norm(f"{ffn}.preffn_bn", dim)
            shapes |= conv_bn(f"{block}.pw1", inner, dim, 1, 1) | conv_bn(f"{block}.pw2", dim, inner, 1, 1)
            shapes |= conv_bn(f"{block}.large_kernel.lkb_origin", inner, 1, kernel, kernel)
            if small is not None:
                shapes |= conv_bn(f"{block}.large_kernel.small_conv", inner, 1, small, small)
            shapes |= conv_bn(f"{ffn}.pw1", 4 * dim, dim, 1, 1) | conv_bn(f"{ffn}.pw2", dim, 4 * dim, 1, 1)
        shapes |= batch_norm(f"stages.{stage}.norm", dim) if outputs else {}
        if stage < 3:
            shapes |= conv_bn(f"transitions.{stage}.0", 2 * dim, dim, 1, 1)
            shapes |= conv_bn(f"transitions.{stage}.1", 2 * dim, 1, 3, 3)
    return shapes if outputs else shapes | batch_norm("norm", dims[-1]) | affine("head", 1000, dims[-1])


def swin(dim: int, heads: Sequence[int], depths: Sequence[int], window: int, outputs: bool = False) -> Shapes:
    """Swin of the authors; ImageNet files hold masks for windows of 224 pixels, downstream ones none."""
    shapes = affine("patch_embed.proj", dim, 3, 4, 4) | affine("patch_embed.norm", dim)
    for stage, (depth, number) in enumerate(zip(depths, heads, strict=True)):
        width = dim * 2**stage
        for block in range(depth):
            name = f"layers.{stage}.blocks.{block}"
            shapes |= affine(f"{name}.norm1", width) | affine(f"{name}.norm2", width)
            shapes |= affine(f"{name}.attn.qkv", 3 * width, width) | affine(f"{name}.attn.proj", width, width)
            shapes |= {f"{name}.attn.relative_position_bias_table": ((2 * window - 1) ** 2, number)}
            shapes |= {f"{name}.attn.relative_position_index": (window**2, window**2)}
            shapes |= affine(f"{name}.mlp.fc1", 4 * width, width) | affine(f"{name}.mlp.fc2", width, 4 * width)
            if block % 2 and stage < 3 and not outputs:
                windows = (224 // (4 * 2**stage) // 7) ** 2
                shapes |= {f"{name}.attn_mask": (windows, window**2, window**2)}
        if stage < 3:
            shapes |= {f"layers.{stage}.downsample.reduction.weight": (2 * width, 4 * width)}
            shapes |= affine(f"layers.{stage}.downsample.norm", 4 * width)
        if outputs:
            shapes |= affine(f"norm{stage}", width)
    return shapes if outputs else shapes | classifier(8 * dim)


def upernet_heads(dims: Sequence[int], channels: int, auxiliary_channels: int, classes: int) -> Shapes:
    """UPerHead and FCNHead of mmseg 0."""
    shapes = affine("decode_head.conv_seg", classes, channels, 1, 1)
    for level in range(4):
        shapes |= conv_bn(f"decode_head.psp_modules.{level}.1", channels, dims[-1], 1, 1)
    shapes |= conv_bn("decode_head.bottleneck", channels, dims[-1] + 4 * channels, 3, 3)
    for level in range(3):
        shapes |= conv_bn(f"decode_head.lateral_convs.{level}", channels, dims[level], 1, 1)
        shapes |= conv_bn(f"decode_head.fpn_convs.{level}", channels, channels, 3, 3)
    shapes |= conv_bn("decode_head.fpn_bottleneck", channels, 4 * channels, 3, 3)
    shapes |= affine("auxiliary_head.conv_seg", classes, auxiliary_channels, 1, 1)
    return shapes | conv_bn("auxiliary_head.convs.0", auxiliary_channels, dims[2], 3, 3)


def detector_heads(dims: Sequence[int], channels: int, cascade: bool) -> Shapes:
    """FPN, RPNHead and RoI heads of mmdet 2; in a cascade three times four convolutions with BN, as the authors'."""
    shapes: Shapes = {}
    for level, dim in enumerate(dims):
        shapes |= affine(f"neck.lateral_convs.{level}.conv", channels, dim, 1, 1)
        shapes |= affine(f"neck.fpn_convs.{level}.conv", channels, channels, 3, 3)
    shapes |= affine("rpn_head.rpn_conv", channels, channels, 3, 3)
    shapes |= affine("rpn_head.rpn_cls", 3, channels, 1, 1) | affine("rpn_head.rpn_reg", 12, channels, 1, 1)
    for stage in (".0", ".1", ".2") if cascade else ("",):
        box, mask = f"roi_head.bbox_head{stage}", f"roi_head.mask_head{stage}"
        shapes |= affine(f"{box}.fc_cls", 81, 32) | affine(f"{box}.fc_reg", 320, 32)
        shapes |= affine(f"{box}.shared_fcs.0", 32, channels * 49)
        for layer in range(4):
            shapes |= affine(f"{mask}.convs.{layer}.conv", channels, channels, 3, 3)
            shapes |= conv_bn(f"{box}.shared_convs.{layer}", channels, channels, 3, 3) if cascade else {}
        shapes |= {} if cascade else affine(f"{box}.shared_fcs.1", 32, 32)
        shapes |= affine(f"{mask}.upsample", channels, channels, 2, 2)
        shapes |= affine(f"{mask}.conv_logits", 80, channels, 1, 1)
    return shapes


def fcos_heads(dims: Sequence[int], channels: int) -> Shapes:
    """FPN from stride 8 to 128 and FCOSHead of mmdet 2."""
    shapes: Shapes = {f"bbox_head.scales.{level}.scale": () for level in range(5)}
    for level in range(3):
        shapes |= affine(f"neck.lateral_convs.{level}.conv", channels, dims[level + 1], 1, 1)
    for level in range(5):
        shapes |= affine(f"neck.fpn_convs.{level}.conv", channels, channels, 3, 3)
    for branch in ("cls_convs", "reg_convs"):
        for layer in range(4):
            shapes |= {f"bbox_head.{branch}.{layer}.conv.weight": (channels, channels, 3, 3)}
            shapes |= affine(f"bbox_head.{branch}.{layer}.gn", channels)
    for kind, outputs in (("cls", 80), ("reg", 4), ("centerness", 1)):
        shapes |= affine(f"bbox_head.conv_{kind}", outputs, channels, 3, 3)
    return shapes

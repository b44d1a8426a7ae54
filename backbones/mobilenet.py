"""MobileNetV2 with large depthwise kernels, for dense prediction.

MobileNetV2: "Inverted Residuals and Linear Bottlenecks" (arXiv:1801.04381), sec. 3 and table 2. The variants are those
of RepLKNet (arXiv:2203.06717), sec. 3, and of its journal version (arXiv:2410.08049), table 2: larger kernels in every
depthwise convolution, with and without shortcuts (guideline 2) or with a parallel 3x3 kernel (guideline 3), and in the
last stage alone, with that parallel kernel (guideline 5 of the first, 4 of the second). The last stage is the last row
of MobileNetV2's table 2, one block with 320 channels, and not all four blocks at stride 32: the parameters printed for
its four kernel sizes (2.64 to 2.75 M) are those of one enlarged convolution, counted at a width of 0.75.

What differs from the classifier: the 1x1 convolution to 1280 channels is gone with the head, as in mmseg's MobileNetV2,
so that the coarsest of the four maps has 320 channels; the last stages can keep a finer stride (DeepLabV3+).

timm and torchvision number the layers of a block, and count another layer in the first one. Here a name says what its
layer does, and stays the same where a second kernel joins it: `stem`, then `stages.STAGE.BLOCK` with `expand`,
`depthwise` and `project`, each with `conv` and `norm`; the parallel kernel is `depthwise.small`. `name_from_timm` and
`name_from_torchvision` translate.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Sequence

import torch
from timm.layers import DropPath, make_divisible
from torch import Tensor, nn
from torch.nn.functional import relu6

from backbones.layers.checkpointing import run_layers
from backbones.layers.large_kernel import LargeKernelConv2d
from backbones.layers.memory_layout import channels_last_on_cpu
from backbones.layers.pointwise import PointwiseConv2d
from backbones.layers.reparameterization import fold_batch_norm, fold_norm_after, pad_kernel
from backbones.pyramid import PyramidBackbone
from backbones.registry import register

# MobileNetV2, table 2: expansion, channels, blocks and stride of each stage.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
OUTPUT_STAGES = (1, 2, 4, 6)  # the last ones at strides 4, 8, 16 and 32
LEVELS = (0, 1, 2, 3, 3, 4, 4)  # the output that each stage leads to, counted from 1; 0 is at stride 2, as the stem


class DepthwiseConv(nn.Module):
    """Depthwise convolution and BN, to which the same with a smaller kernel may be added (RepLKNet, guideline 3)."""

    def __init__(
        self, channels: int, kernel_size: int, stride: int, dilation: int, small_kernel_size: int | None
    ) -> None:
        super().__init__()
        self.conv: nn.Conv2d = _depthwise(channels, kernel_size, stride, dilation, bias=False)
        self.norm: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(channels)
        self.small: nn.Sequential | None = None
        if small_kernel_size is not None:
            self.small = _conv_norm(_depthwise(channels, small_kernel_size, stride, dilation, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, ceil(H / stride), ceil(W / stride))."""
        y: Tensor = self.norm(self.conv(x))
        return y if self.small is None else y + self.small(x)

    @torch.no_grad()
    def merge(self) -> None:
        """Replace the kernels and their BNs by one kernel with a bias, equal to them in evaluation mode."""
        if isinstance(self.norm, nn.Identity):
            return
        weight, bias = fold_batch_norm(self.conv, self.norm)
        if self.small is not None:
            small_weight, small_bias = fold_batch_norm(*self.small)
            weight, bias = weight + pad_kernel(small_weight, weight.shape[-1]), bias + small_bias
        old = self.conv
        self.conv = _depthwise(len(weight), weight.shape[-1], old.stride[0], old.dilation[0], bias=True).to(old.weight)
        self.conv.load_state_dict({"weight": weight, "bias": bias})
        self.conv.requires_grad_(old.weight.requires_grad).train(old.training)
        self.norm, self.small = nn.Identity(), None


class Block(nn.Module):
    """1x1 to a wider map, depthwise convolution, 1x1 to a narrow map without activation (MobileNetV2, fig. 3 and 4).

    Args:
        expansion: width of the wide map over that of the input; 1 leaves the first 1x1 out.
        shortcut: add the input to the output where their shapes are the same.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expansion: int,
        kernel_size: int,
        small_kernel_size: int | None,
        stride: int,
        dilation: int,
        shortcut: bool,
        drop_path: float,
    ) -> None:
        super().__init__()
        width = in_channels * expansion
        self.expand = _conv_norm(PointwiseConv2d(in_channels, width, bias=False)) if expansion > 1 else None
        self.depthwise = DepthwiseConv(width, kernel_size, stride, dilation, small_kernel_size)
        self.project = _conv_norm(PointwiseConv2d(width, out_channels, bias=False))
        self.shortcut = shortcut and stride == 1 and in_channels == out_channels
        self.drop_path = DropPath(drop_path) if drop_path > 0 and self.shortcut else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        y = x if self.expand is None else _relu6(self.expand(x))
        y = self.drop_path(self.project(_relu6(self.depthwise(y))))
        return x + y if self.shortcut else y


# No `_rep` where all kernels are 3x3: the parallel kernel would be one of the same size.
@register("mobilenetv2_k3")
@register("mobilenetv2_k3_noshortcut", shortcuts=False)
@register("mobilenetv2_k9", kernel_size=9)
@register("mobilenetv2_k9_noshortcut", kernel_size=9, shortcuts=False)
@register("mobilenetv2_k9_rep", kernel_size=9, small_kernel_size=3)
@register("mobilenetv2_k13", kernel_size=13)
@register("mobilenetv2_k13_noshortcut", kernel_size=13, shortcuts=False)
@register("mobilenetv2_k13_rep", kernel_size=13, small_kernel_size=3)
@register("mobilenetv2_last_k3")  # the same network as mobilenetv2_k3: the first row of the table
@register("mobilenetv2_last_k3_noshortcut", shortcuts=False)
@register("mobilenetv2_last_k7", last_kernel_size=7)
@register("mobilenetv2_last_k7_noshortcut", last_kernel_size=7, shortcuts=False)
@register("mobilenetv2_last_k7_rep", last_kernel_size=7, small_kernel_size=3)
@register("mobilenetv2_last_k9", last_kernel_size=9)
@register("mobilenetv2_last_k9_noshortcut", last_kernel_size=9, shortcuts=False)
@register("mobilenetv2_last_k9_rep", last_kernel_size=9, small_kernel_size=3)
@register("mobilenetv2_last_k13", last_kernel_size=13)
@register("mobilenetv2_last_k13_noshortcut", last_kernel_size=13, shortcuts=False)
@register("mobilenetv2_last_k13_rep", last_kernel_size=13, small_kernel_size=3)
class DenseMobileNetV2(PyramidBackbone):
    """MobileNetV2 with a feature map from the last stage at each of the strides 4, 8, 16 and 32.

    Args:
        kernel_size: of every depthwise convolution.
        last_kernel_size: of the last stage, where it is another.
        small_kernel_size: parallel kernel of the depthwise convolutions that are larger; None for none.
        shortcuts: False takes all of them away (guideline 2); stochastic depth has no effect then.
        width: factor on all channels, as in MobileNetV2, sec. 5.
        drop_path_rate: stochastic depth of the last block; the rate rises linearly from 0 at the first.
        output_stride: 8 or 16 keep the maps of the last stages at this stride. As in mmseg, whose defaults RepLKNet's
            runs on Cityscapes follow, only the first block of each of these stages is dilated.
        use_checkpoint: compute each block's inner maps again in the backward pass, to save memory.
        out_indices: levels that are returned.
        frozen_stages: see `PyramidBackbone`; a stage is what works for one level, and the stem has the first block.
    """

    def __init__(
        self,
        kernel_size: int = 3,
        last_kernel_size: int | None = None,
        small_kernel_size: int | None = None,
        shortcuts: bool = True,
        width: float = 1.0,
        drop_path_rate: float = 0.0,
        output_stride: int = 32,
        use_checkpoint: bool = False,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
    ) -> None:
        super().__init__()
        kernel_sizes = [kernel_size] * len(STAGES)
        kernel_sizes[-1] = last_kernel_size or kernel_size
        channels = [make_divisible(channels * width, 8) for _, channels, _, _ in STAGES]
        self.use_checkpoint = use_checkpoint
        self.out_indices = tuple(out_indices)
        self.out_channels = tuple(channels[OUTPUT_STAGES[index]] for index in self.out_indices)
        self.out_strides = tuple(min(4 * 2**index, output_stride) for index in self.out_indices)

        last = make_divisible(32 * width, 8)
        self.stem = _conv_norm(nn.Conv2d(3, last, kernel_size=3, stride=2, padding=1, bias=False))
        num_blocks = sum(blocks for _, _, blocks, _ in STAGES)
        rates = iter(drop_path_rate * block / (num_blocks - 1) for block in range(num_blocks))
        self.stages = nn.ModuleList()
        full_stride = 2  # what the stride is without dilation
        for (expansion, _, blocks, stride), size, dim in zip(STAGES, kernel_sizes, channels, strict=True):
            full_stride *= stride
            stage = nn.Sequential()
            for index, rate in enumerate(itertools.islice(rates, blocks)):
                first_stride = stride if full_stride <= output_stride else 1
                stage.append(
                    Block(
                        in_channels=last,
                        out_channels=dim,
                        expansion=expansion,
                        kernel_size=size,
                        small_kernel_size=small_kernel_size if (small_kernel_size or size) < size else None,
                        stride=first_stride if index == 0 else 1,
                        dilation=max(full_stride // output_stride, 1) if index == 0 else 1,
                        shortcut=shortcuts,
                        drop_path=rate,
                    )
                )
                last = dim
            self.stages.append(stage)
        self.apply(_init_weights)
        self.freeze(frozen_stages)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one (N, out_channels[i], ceil(H / out_strides[i]), ceil(W / out_strides[i])) per level."""
        x = _relu6(self.stem(channels_last_on_cpu(x)))
        outputs = []
        for index, stage in enumerate(self.stages):
            x = run_layers(stage.children(), x, self.use_checkpoint and self.training)
            if index in OUTPUT_STAGES and OUTPUT_STAGES.index(index) in self.out_indices:
                outputs.append(x)
        return tuple(outputs)

    def merge_reparameterization(self, fold_norms: bool = True) -> None:
        """Merge the parallel kernels into the larger ones, and all BNs into convolutions, in place, for testing.

        Outputs in evaluation mode stay the same; a second call changes nothing.

        Args:
            fold_norms: False merges the parallel kernels and the BNs beside them alone.
        """
        for module in list(self.modules()):
            if isinstance(module, DepthwiseConv) and (fold_norms or module.small is not None):
                module.merge()
            elif isinstance(module, nn.Sequential) and hasattr(module, "conv") and fold_norms:
                fold_norm_after(module, "norm")

    def layer_depth(self, parameter_name: str, decay_type: str, num_layers: int) -> int:
        """Depth of a parameter for learning-rate decay; no published recipe of MobileNetV2 has it.

        `layer_wise`: stem convolution 0, then the blocks in their order, evenly spread over 1..num_layers.
        `stage_wise`: the stem with the first block 0, then the level that a stage works for, 1 to 4.

        Raises:
            ValueError: a parameter that this backbone does not have, or another decay type.
        """
        stage = self.stage_of(parameter_name)  # refuses foreign names
        if decay_type == "stage_wise":
            return stage
        if decay_type != "layer_wise":
            raise ValueError(f"decay_type is 'layer_wise' or 'stage_wise', not '{decay_type}'.")
        parts = parameter_name.split(".")
        if parts[0] == "stem":
            return 0
        depths = [blocks for _, _, blocks, _ in STAGES]
        block = sum(depths[: int(parts[1])]) + int(parts[2])
        return 1 + block * num_layers // sum(depths)

    def stage_of(self, parameter_name: str) -> int:
        """See `PyramidBackbone.stage_of`; the stem is what works at stride 2, the first block included."""
        parts = parameter_name.split(".")
        if parts[0] == "stem":
            return 0
        if parts[0] == "stages":
            return LEVELS[int(parts[1])]
        raise ValueError(f"MobileNetV2 has no parameter '{parameter_name}'.")


def name_from_timm(name: str) -> str | None:
    """Our name of a tensor of timm's `mobilenetv2_*`; None for those of the classifier, which have no place here."""
    parts = name.split(".")
    if parts[0] in ("conv_stem", "bn1"):
        return f"stem.{'conv' if parts[0] == 'conv_stem' else 'norm'}.{parts[1]}"
    if parts[0] != "blocks":
        return None
    _, stage, block, layer, tensor = parts
    if stage == "0":
        ours = {"conv_dw": "depthwise.conv", "bn1": "depthwise.norm", "conv_pw": "project.conv", "bn2": "project.norm"}
    else:
        ours = {"conv_pw": "expand.conv", "conv_dw": "depthwise.conv", "conv_pwl": "project.conv"}
        ours |= {"bn1": "expand.norm", "bn2": "depthwise.norm", "bn3": "project.norm"}
    return f"stages.{stage}.{block}.{ours[layer]}.{tensor}"


def name_from_torchvision(name: str) -> str | None:
    """Our name of a tensor of torchvision's `mobilenet_v2`; None for those of the classifier (`features.18` and on)."""
    parts = name.split(".")
    blocks = [(stage, block) for stage, (_, _, blocks, _) in enumerate(STAGES) for block in range(blocks)]
    if parts[0] != "features" or int(parts[1]) > len(blocks):
        return None
    if parts[1] == "0":
        return f"stem.{'conv' if parts[2] == '0' else 'norm'}.{parts[3]}"
    stage, block = blocks[int(parts[1]) - 1]
    if stage == 0:
        ours = {"0.0": "depthwise.conv", "0.1": "depthwise.norm", "1": "project.conv", "2": "project.norm"}
    else:
        ours = {"0.0": "expand.conv", "1.0": "depthwise.conv", "2": "project.conv"}
        ours |= {"0.1": "expand.norm", "1.1": "depthwise.norm", "3": "project.norm"}
    return f"stages.{stage}.{block}.{ours['.'.join(parts[3:-1])]}.{parts[-1]}"


def _depthwise(channels: int, kernel_size: int, stride: int, dilation: int, bias: bool) -> nn.Conv2d:
    return LargeKernelConv2d(channels, kernel_size, bias=bias, stride=stride, dilation=dilation)


def _conv_norm(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(OrderedDict(conv=convolution, norm=nn.BatchNorm2d(convolution.out_channels)))


def _relu6(x: Tensor) -> Tensor:
    return relu6(x, inplace=not torch.is_grad_enabled())  # in place where no gradient needs what was there before


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")

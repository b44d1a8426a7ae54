"""ResNet and ResNeXt for dense prediction, the convolutional baselines.

"Deep Residual Learning for Image Recognition" (arXiv:1512.03385), table 1, and "Aggregated Residual Transformations for
Deep Neural Networks" (arXiv:1611.05431), with the stride of a stage in its 3x3 convolution, as torchvision and the
detection toolboxes have it. The blocks are timm's; parameter names are torchvision's. What differs from the
classifier: the head is gone, the last stages can keep a finer stride (dilation), and norms can be frozen.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from backbones.layers.checkpointing import run_layers
from backbones.layers.norm import synchronize_norms
from backbones.pyramid import PyramidBackbone
from backbones.registry import register

STEM = ("conv1", "bn1", "act1", "maxpool")
STAGES = ("layer1", "layer2", "layer3", "layer4")


@register("resnet50", depths=(3, 4, 6, 3))
@register("resnet101", depths=(3, 4, 23, 3))
@register("resnet152", depths=(3, 8, 36, 3))
@register("resnext101_32x4d", depths=(3, 4, 23, 3), groups=32, group_width=4)
@register("resnext101_64x4d", depths=(3, 4, 23, 3), groups=64, group_width=4)
class DenseResNet(PyramidBackbone):
    """ResNet of bottleneck blocks with a feature map from each stage, at strides 4, 8, 16 and 32.

    Args:
        depths: blocks in each of the four stages.
        groups: groups of the 3x3 convolutions.
        group_width: channels of a group in the first stage.
        drop_path_rate: stochastic depth of the last block; the rate rises linearly from 0 at the first.
        output_stride: 8 or 16 keep the maps of the last stages at this stride, by dilation (DeepLabV3+).
        deep_stem: three 3x3 convolutions for the 7x7 (ResNet-C, the ResNet of mmseg's recipes).
        stride_in_1x1: the stride of a stage in the first 1x1 convolution of its first block (the original ResNet,
            "caffe style" in the toolboxes, whose weights want it).
        norm_eval: batch norms keep their statistics (mmdet's recipes); their weights train.
        norm_frozen: the weights of batch norms do not train either.
        use_sync_bn: SyncBN (mmseg's recipes); where there is no process group or no GPU it is BN.
        use_checkpoint: compute each block's inner maps again in the backward pass, to save memory.
        out_indices: stages whose maps are returned.
        frozen_stages: see `PyramidBackbone`; mmdet's recipes freeze 1.
    """

    def __init__(
        self,
        depths: Sequence[int] = (3, 4, 6, 3),
        groups: int = 1,
        group_width: int = 64,
        drop_path_rate: float = 0.0,
        output_stride: int = 32,
        deep_stem: bool = False,
        stride_in_1x1: bool = False,
        norm_eval: bool = False,
        norm_frozen: bool = False,
        use_sync_bn: bool = False,
        use_checkpoint: bool = False,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
    ) -> None:
        from timm.models.resnet import Bottleneck, ResNet  # here, because timm's models take a second to import

        super().__init__()
        self.depths = tuple(depths)
        self.norm_eval = norm_eval
        self.use_checkpoint = use_checkpoint
        self.out_indices = tuple(out_indices)
        self.out_channels = tuple(256 * 2**index for index in self.out_indices)
        self.out_strides = tuple(min(4 * 2**index, output_stride) for index in self.out_indices)
        classifier = ResNet(
            Bottleneck,
            layers=self.depths,
            num_classes=0,
            output_stride=output_stride,
            cardinality=groups,
            base_width=group_width,
            stem_width=32 if deep_stem else 64,
            stem_type="deep" if deep_stem else "",
            drop_path_rate=drop_path_rate,
            zero_init_last=False,  # as torchvision
        )
        for name in STEM + STAGES:
            self.add_module(name, classifier.get_submodule(name))
        if stride_in_1x1:
            for name in STAGES:
                block = self.get_submodule(name)[0]  # type: ignore[index]
                block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
        if norm_frozen:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.requires_grad_(False)
        if use_sync_bn:
            synchronize_norms(self)
        self.freeze(frozen_stages)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one (N, out_channels[i], ceil(H / out_strides[i]), ceil(W / out_strides[i])) per stage."""
        for name in STEM:
            x = self.get_submodule(name)(x)
        outputs = []
        for index, name in enumerate(STAGES):
            x = run_layers(self.get_submodule(name).children(), x, self.use_checkpoint and self.training)
            if index in self.out_indices:
                outputs.append(x)
        return tuple(outputs)

    def train(self, mode: bool = True) -> DenseResNet:
        """As `PyramidBackbone.train`; with `norm_eval`, batch norms stay in evaluation mode."""
        super().train(mode)
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
                    module.eval()
        return self

    def layer_depth(self, parameter_name: str, decay_type: str, num_layers: int) -> int:
        """Depth of a parameter for learning-rate decay; no published recipe of ResNet has it.

        `layer_wise`: stem 0, then the blocks in their order, evenly spread over 1..num_layers. `stage_wise`: stem 0,
        stage i at i + 1.

        Raises:
            ValueError: a parameter that this backbone does not have, or another decay type.
        """
        stage = self.stage_of(parameter_name)
        if decay_type not in ("layer_wise", "stage_wise"):
            raise ValueError(f"decay_type is 'layer_wise' or 'stage_wise', not '{decay_type}'.")
        if stage == 0 or decay_type == "stage_wise":
            return stage
        block = sum(self.depths[: stage - 1]) + int(parameter_name.split(".")[1])
        return 1 + block * num_layers // sum(self.depths)

    def stage_of(self, parameter_name: str) -> int:
        """See `PyramidBackbone.stage_of`."""
        part = parameter_name.split(".")[0]
        if part in STEM:
            return 0
        if part in STAGES:
            return STAGES.index(part) + 1
        raise ValueError(f"ResNet has no parameter '{parameter_name}'.")

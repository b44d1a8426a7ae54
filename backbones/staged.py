"""What ConvNeXt and the networks on the road to it share: stages with downsampling before them, and the layers' order.

ConvNeXt: "A ConvNet for the 2020s" (arXiv:2201.03545).
"""

from __future__ import annotations

from torch import Tensor, nn

from backbones.layers.checkpointing import run_layers
from backbones.pyramid import PyramidBackbone


class StagedConvNet(PyramidBackbone):
    """Four stages of blocks, `stages`, each after its entry of `downsample_layers`, whose first is the stem.

    Every output level has a norm of its own, `norm0` to `norm3`.
    """

    downsample_layers: nn.ModuleList
    stages: nn.ModuleList
    use_checkpoint: bool = False  # compute each block's inner maps again in the backward pass, to save memory

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one (N, out_channels[i], H / out_strides[i], W / out_strides[i]) per output stage.

        Maps of odd size are rounded down by patches (ConvNeXt's stem and downsampling), up by all else.
        """
        outputs = []
        for index, (downsample, stage) in enumerate(zip(self.downsample_layers, self.stages, strict=True)):
            x = run_layers(stage.children(), downsample(x), self.use_checkpoint and self.training)
            if index in self.out_indices:
                outputs.append(self.get_submodule(f"norm{index}")(x))
        return tuple(outputs)

    def layer_depth(self, parameter_name: str, decay_type: str, num_layers: int) -> int:
        """Depth of a parameter for learning-rate decay (ConvNeXt, appendix A.3, and the authors' constructor).

        `stage_wise`: stem and downsampling 0, stage i at i + 1. `layer_wise`: stem 0, stages 1 and 2 are one layer
        each, stage 3 is shared out by `third_stage_depth`, stage 4 with its downsampling is the last. Output norms are
        new downstream and keep the full rate, num_layers + 1.

        Raises:
            ValueError: a parameter that this backbone does not have, or another decay type.
        """
        parts = parameter_name.split(".")
        self.stage_of(parameter_name)  # refuses foreign names
        if parts[0].startswith("norm"):
            return num_layers + 1
        stage = int(parts[1])
        if decay_type == "stage_wise":
            return stage + 1 if parts[0] == "stages" else 0
        if decay_type != "layer_wise":
            raise ValueError(f"decay_type is 'layer_wise' or 'stage_wise', not '{decay_type}'.")
        if parts[0] == "downsample_layers":
            return (0, 2, 3, num_layers)[stage]
        return self.third_stage_depth(int(parts[2]), num_layers) if stage == 2 else (1, 2, 3, num_layers)[stage]

    def third_stage_depth(self, block: int, num_layers: int) -> int:
        """Depth of a block of stage 3, from 3 to num_layers."""
        raise NotImplementedError

    def stage_of(self, parameter_name: str) -> int:
        """See `PyramidBackbone.stage_of`."""
        parts = parameter_name.split(".")
        if parts[0] == "stages":
            return int(parts[1]) + 1
        if parts[0] == "downsample_layers":
            return 0 if parts[1] == "0" else int(parts[1]) + 1
        if parts[0].startswith("norm"):
            return int(parts[0].removeprefix("norm")) + 1
        raise ValueError(f"{type(self).__name__} has no parameter '{parameter_name}'.")

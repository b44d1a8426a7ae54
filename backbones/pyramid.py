"""What every backbone of densebench has: a pyramid of feature maps, ordered layers, stages that can be frozen."""

from __future__ import annotations

from torch import Tensor, nn


class PyramidBackbone(nn.Module):
    """Base of the backbone families; a class of one's own needs the same attributes, not this base.

    Attributes:
        out_channels: channels of each returned map, finest first.
        out_strides: its stride; a map of an image (H, W) has floor or ceil of H / stride rows.
        out_indices: which of the backbone's levels these are.
        frozen_stages: stages that are not trained: -1 none, 0 the stem, 1 stem and first stage, ...; a subclass calls
            `freeze(frozen_stages)` at the end of its constructor.
    """

    out_channels: tuple[int, ...]
    out_strides: tuple[int, ...]
    out_indices: tuple[int, ...]
    frozen_stages: int = -1

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one (N, out_channels[i], H / out_strides[i], W / out_strides[i]) per level."""
        raise NotImplementedError

    def layer_depth(self, parameter_name: str, decay_type: str, num_layers: int) -> int:
        """Depth of a parameter in 0..num_layers + 1 for learning-rate decay, `layer_wise` or `stage_wise`.

        Its learning rate is base * rate ** (num_layers + 1 - depth).

        Raises:
            ValueError: a parameter that this backbone does not have, or another decay type.
        """
        raise NotImplementedError

    def stage_of(self, parameter_name: str) -> int:
        """The stage that a parameter belongs to: 0 the stem, 1 the first stage; a downsampling goes with the stage it
        leads to, an output norm with the stage it follows.

        Raises:
            ValueError: a parameter that this backbone does not have.
        """
        raise NotImplementedError

    def freeze(self, stages: int) -> None:
        """Stop training the stem and the first `stages` stages; their modules stay in evaluation mode from now on."""
        self.frozen_stages = stages
        for name, parameter in self.named_parameters():
            if self.stage_of(name) <= stages:
                parameter.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> PyramidBackbone:
        """As nn.Module's, but norms and drop paths of frozen stages stay in evaluation mode."""
        super().train(mode)
        if mode and self.frozen_stages >= 0:
            for module in self.modules():
                own = list(module.parameters())
                if own and not any(parameter.requires_grad for parameter in own):
                    module.eval()
        return self

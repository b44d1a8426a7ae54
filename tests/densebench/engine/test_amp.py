"""Low precision inside the parts of a network, full precision between them."""

import pytest
import torch
from torch import Tensor, nn

from densebench.engine.amp import low_precision


class Part(nn.Module):
    """A layer that tells in what precision it ran."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.ran_in: torch.dtype | None = None

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        y = self.layer(x)
        self.ran_in = y.dtype
        return [y], torch.arange(2)


class Model(nn.Module):
    """Parts at the places where mmdet and mmseg have them."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Part()
        self.roi_head = nn.Module()
        self.roi_head.bbox_head = nn.ModuleList([Part(), Part()])
        self.between = nn.Linear(4, 4)

    def parts(self) -> list[Part]:
        return [self.backbone, *self.roi_head.bbox_head]

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts():
            # mmseg's heads call forward() past __call__.
            (x,), indices = part.forward(x)
            assert x.dtype == torch.float32 and indices.dtype == torch.int64
            x = self.between(x)
            assert x.dtype == torch.float32
        return x


def test_parts_run_in_low_precision_and_give_fp32() -> None:
    model = Model()
    with low_precision(model, torch.bfloat16):
        model(torch.ones(2, 4)).sum().backward()
    assert [part.ran_in for part in model.parts()] == [torch.bfloat16] * 3
    assert all(parameter.grad.dtype == torch.float32 for parameter in model.parameters())
    model(torch.ones(2, 4))
    assert [part.ran_in for part in model.parts()] == [torch.float32] * 3


def test_an_error_inside_leaves_the_model_as_it_was() -> None:
    model = Model()
    with pytest.raises(RuntimeError), low_precision(model, torch.bfloat16):
        model(torch.ones(2, 5))
    assert all("forward" not in vars(part) for part in model.parts())

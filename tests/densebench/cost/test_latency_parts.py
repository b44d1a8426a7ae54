"""Where the time of a step goes."""

import time
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from densebench.cost.latency_parts import measure_parts, timed_forwards
from densebench.cost.segmentor_run import view_sizes

CPU = torch.device("cpu")


class Sleeping(nn.Module):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(self.seconds)
        return x


def test_parts_are_timed_where_their_time_is_spent() -> None:
    model: Any = nn.Module()
    model.data_preprocessor, model.backbone, model.decode_head = Sleeping(0.0), Sleeping(0.02), Sleeping(0.01)

    def run() -> None:
        x = model.decode_head.forward(model.backbone(model.data_preprocessor(torch.zeros(1))))  # as mmseg calls it
        model.backbone(x)
        time.sleep(0.03)

    parts = measure_parts(run, model, CPU, runs=3, max_seconds=1.0)
    assert set(parts) == {"data", "backbone", "head", "post_processing"}
    # Nothing sleeps shorter than it was told; how much longer, a busy machine decides.
    assert parts["backbone"] > 39 and parts["head"] > 9 and parts["post_processing"] > 29
    assert parts["data"] < 9


def test_models_are_left_as_they_were() -> None:
    model: Any = nn.Module()
    model.backbone, model.neck = Sleeping(0.0), Sleeping(0.0)
    own = model.neck.forward
    vars(model.neck)["forward"] = own
    with timed_forwards(model, CPU, {}):
        assert "forward" in vars(model.backbone)
    assert "forward" not in vars(model.backbone)
    assert vars(model.neck)["forward"] is own


@pytest.mark.parametrize(
    ("protocol", "sizes"),
    [
        ({"ratios": (0.5, 1.0, 1.75)}, [(1024, 256), (2048, 512), (3584, 896)]),
        ({"scales": ((4000, 400), (4000, 800))}, [(1600, 400), (3200, 800)]),
    ],
)
def test_view_sizes(protocol: dict[str, Any], sizes: list[tuple[int, int]]) -> None:
    assert view_sizes((2048, 512), protocol) == sizes

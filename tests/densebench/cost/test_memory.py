from __future__ import annotations

import pytest
import torch
from torch import nn

from densebench.cost.memory import allocated_peak_bytes, peak_memory_mb, storage_bytes

MB_OF_FLOATS = 2**18
CPU = torch.device("cpu")


def test_the_peak_is_what_is_alive_at_once() -> None:
    def run() -> torch.Tensor:
        first = torch.empty(30 * MB_OF_FLOATS)
        second = torch.empty(20 * MB_OF_FLOATS)  # 50 MB alive: the peak
        del first
        third = torch.empty(25 * MB_OF_FLOATS)  # 45 MB alive
        del second
        return third

    assert peak_memory_mb(run, CPU, held=[]) == pytest.approx(50.0, abs=0.01)


def test_what_was_held_before_is_added_once() -> None:
    weight = torch.zeros(8 * MB_OF_FLOATS)
    peak = peak_memory_mb(lambda: torch.empty(2 * MB_OF_FLOATS), CPU, held=[weight, weight[1:], weight.view(2, -1)])
    assert peak == pytest.approx(10.0, abs=0.01)


def test_freeing_what_was_held_before_does_not_lower_the_peak() -> None:
    held = [torch.zeros(8 * MB_OF_FLOATS)]

    def run() -> torch.Tensor:
        held.clear()
        return torch.empty(2 * MB_OF_FLOATS)

    assert allocated_peak_bytes(run) == pytest.approx(2 * 2**20, abs=1024)


def test_temporaries_inside_an_operator_count() -> None:
    layers = nn.Sequential(nn.Linear(1024, 4096), nn.ReLU(), nn.Linear(4096, 16)).eval()
    inputs = torch.zeros(1024, 1024)
    # Both sides of the ReLU, 16 MB each, are alive at once, beside the weights and the input of 4 MB.
    expected = 32 + (storage_bytes(layers.parameters()) + storage_bytes([inputs])) / 2**20
    found = peak_memory_mb(lambda: layers(inputs), CPU, held=[*layers.parameters(), inputs])
    assert found == pytest.approx(expected, abs=0.2)

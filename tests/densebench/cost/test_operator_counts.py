"""What is counted, by which formula, and what is named as not counted."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from densebench.cost.operator_counts import count_operators, summed


def test_convolutions_count_and_the_rest_is_named() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.GELU()).to("meta").eval()
    result, counts = count_operators(lambda: layers(torch.empty(1, 3, 10, 20, device="meta")))
    assert result.shape == (1, 4, 10, 20)
    assert counts.flops_g * 1e9 == pytest.approx(3 * 4 * 9 * 200)
    assert counts.uncounted_g["aten.gelu"] * 1e9 == pytest.approx(800)
    assert not any("convolution" in name or "view" in name for name in counts.uncounted_g)


def test_pooling_of_regions_has_a_formula_and_stays_outside_the_total() -> None:
    features, rois = torch.empty(1, 5, 8, 8, device="meta"), torch.empty(3, 5, device="meta")
    _, counts = count_operators(lambda: torchvision.ops.roi_align(features, rois, 7, 1.0, sampling_ratio=3))
    assert counts.flops_g == 0
    # Three regions of 5 channels and 7 x 7 bins, with 3 x 3 samples of 4 pixels each.
    assert counts.outside_totals_g["torchvision.roi_align"] * 1e9 == pytest.approx(3 * 5 * 49 * 9 * 4)
    assert "torchvision.roi_align" not in counts.uncounted_g


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_attention_counts_two_products_on_any_device(device: str) -> None:
    query, key = torch.zeros(2, 4, 6, 8, device=device), torch.zeros(2, 4, 10, 8, device=device)
    with torch.no_grad():
        _, counts = count_operators(lambda: functional.scaled_dot_product_attention(query, key, key))
    assert counts.flops_g * 1e9 == pytest.approx(2 * (2 * 4 * 6 * 10 * 8))


def test_sums_are_by_name_and_the_largest_first() -> None:
    assert list(summed([{"a": 1.0, "b": 2.0}, {"a": 4.0}]).items()) == [("a", 5.0), ("b", 2.0)]

"""Multiply-adds of one forward by torch's counter, and the names of the operators that it does not count.

Formulas for operators that torch's counter lacks are registered on import; those of our own operators come
with `backbones.layers.operation_counts`. On the meta device attention is two matrix products, which are counted as
such.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torchvision  # noqa: F401  # defines torchvision::roi_align
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry, register_flop_formula, sdpa_flop_count

import backbones.layers.operation_counts  # noqa: F401  # formulas of our operators

# Counted by a formula, but no convolution and no matrix product: papers leave them out of their totals.
OUTSIDE_TOTALS = (torch.ops.torchvision.roi_align,)
# A bin of RoIAlign has 2 x 2 samples in the paper (Mask R-CNN, sec. 3); as many as cover it where that is left open.
ROI_SAMPLES_PER_SIDE = 2
# They make or move tensors and compute nothing.
_NO_COMPUTATION = {
    *("empty", "empty_strided", "empty_like", "new_empty", "zeros", "zeros_like", "new_zeros", "ones", "ones_like"),
    *("full", "full_like", "arange", "lift_fresh", "detach", "clone", "copy", "copy_", "_to_copy", "contiguous", "cat"),
    *(
        "fill_",
        "zero_",
        "_local_scalar_dense",
        "constant_pad_nd",
        "stack",
        "roll",
        "scalar_tensor",
        "new_full",
        "_unsafe_view",
        "as_strided_",
    ),
}


@dataclass(frozen=True)
class OperatorCounts:
    """What one run of a callable computes."""

    flops_g: float  # multiply-adds of convolutions and matrix products
    outside_totals_g: dict[str, float]  # multiply-adds by operator that have a formula and are not in flops_g
    uncounted_g: dict[str, float]  # numbers (G) that operators without a formula wrote, by operator


def count_operators(run: Callable[[], Any]) -> tuple[Any, OperatorCounts]:
    """What a run returns, and what it computed."""
    others = UncountedOperators()
    with others, FlopCounterMode(display=False) as counter:
        result = run()
    by_operator = counter.get_flop_counts().get("Global", {})
    # torch counts two operations per multiply-add.
    outside = {str(name): count / 2 / 1e9 for name, count in by_operator.items() if name in OUTSIDE_TOTALS}
    total = counter.get_total_flops() / 2 / 1e9
    written = {name: number / 1e9 for name, number in others.numbers.items()}
    return result, OperatorCounts(total - sum(outside.values()), outside, written)


def summed(counts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Sums by name, largest first."""
    total: dict[str, float] = {}
    for part in counts:
        for name, number in part.items():
            total[name] = total.get(name, 0.0) + number
    return dict(sorted(total.items(), key=lambda item: -item[1]))


class UncountedOperators(TorchDispatchMode):
    """Collects operators that compute and have no formula; `numbers` is how many numbers each wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run the operator; note it where torch's counter has no formula for it."""
        result = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        name = packet.__name__
        if packet not in flop_registry and not func.is_view and name not in _NO_COMPUTATION:
            written = sum(leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
            self.numbers[str(packet)] += written
        return result


@register_flop_formula(torch.ops.torchvision.roi_align)
def _roi_align_flops(
    features_shape: Sequence[int],
    rois_shape: Sequence[int],
    spatial_scale: float,
    height: int,
    width: int,
    sampling_ratio: int = 0,
    *args: Any,
    **kwargs: Any,
) -> int:
    """Each sample weighs four pixels."""
    samples = (sampling_ratio if sampling_ratio > 0 else ROI_SAMPLES_PER_SIDE) ** 2
    return 2 * 4 * samples * math.prod((rois_shape[0], features_shape[1], height, width))


@register_flop_formula(
    [
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu,
        torch.ops.aten._scaled_dot_product_fused_attention_overrideable,
    ]
)
def _cpu_attention_flops(
    query_shape: Sequence[int], key_shape: Sequence[int], value_shape: Sequence[int], *args: Any, **kwargs: Any
) -> int:
    count: int = sdpa_flop_count(query_shape, key_shape, value_shape)
    return count

"""Linear layers over the channels of (N, H, W, C) maps, by oneDNN where that can be had.

On the CPU torch gives products in float32 to the BLAS that it was built with, MKL, which does not use all of an AMD
processor's vector units; oneDNN, which torch brings for convolutions, does (2.2 times as fast on a Zen 5 with AVX-512,
1.1 times on a Zen 3 with AVX2) and can apply the GELU on the way. Without oneDNN, in double precision, on other devices
and while torch traces or compiles, these functions are torch's own. Results are equal up to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from backbones.layers.processor import HAS_AVX512

# An operator of torch's without a public name, which inductor calls for CPU models.
HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
# oneDNN refuses bfloat16 on processors without instructions for it; torch's own layers convert.
HAS_ONEDNN_BFLOAT16 = HAS_ONEDNN and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
ONEDNN_DTYPES = (torch.float32, torch.bfloat16) if HAS_ONEDNN_BFLOAT16 else (torch.float32,)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(..., C), (D, C), (D,) -> (..., D), as torch's."""
    if not uses_onednn(x):
        return functional.linear(x, weight, bias)
    x, weight, bias = _autocast(x, weight, bias)
    result: Tensor = _Linear.apply(x, weight, bias)
    return result


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(..., C), (D, C), (D,) -> (..., D), GELU in its exact form."""
    if torch.is_grad_enabled() or not uses_onednn(x):
        return functional.gelu(linear(x, weight, bias))
    if not HAS_AVX512:  # where oneDNN's GELU takes twice the time of torch's
        hidden = linear(x, weight, bias)
        return torch.ops.aten.gelu_(hidden)
    return _onednn(*_autocast(x, weight, bias), gelu=True)


def uses_onednn(x: Tensor) -> bool:
    """Whether `linear` of this tensor is oneDNN's."""
    if not HAS_ONEDNN or x.device.type != "cpu" or x.dtype not in ONEDNN_DTYPES or x.numel() == 0:
        return False
    if torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") not in ONEDNN_DTYPES:
        return False
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return bool(torch.backends.mkldnn.enabled) and not traced


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "gelu" if gelu else "none", [], "none")
    return result


def _autocast(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    # Autocast does not know oneDNN's operator.
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    return x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _onednn(x, weight, bias, gelu=False)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        x, weight, _ = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        rows, gradient_rows = x.flatten(0, -2), gradient.flatten(0, -2)
        return (
            linear(gradient, weight.t(), None) if wants_x else None,
            _outer(gradient_rows, rows) if wants_weight else None,
            gradient_rows.sum(0) if wants_bias else None,
        )


def _outer(left: Tensor, right: Tensor) -> Tensor:
    """(M, D), (M, C) -> (D, C), the sum over rows of their outer products."""
    if not HAS_AVX512:  # where MKL is the faster one at products of transposed factors
        return left.t() @ right
    # oneDNN copies the transposed first factor, and reads the second as it lies: the narrower one comes first.
    if left.shape[1] <= right.shape[1]:
        return linear(left.t(), right.t(), None)
    return linear(right.t(), left.t(), None).t().contiguous()

"""What CUDA does otherwise than the CPU, for fake CPU tensors: autocast to float16, dropout, fused attention.

The backward pass of fake CUDA tensors needs a GPU; that of fake CPU tensors does not, but follows the CPU's kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

# CUDA's autocast lists (torch.amp, "CUDA Op-Specific Behavior"), as far as our models and their losses go.
HALF = {
    *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    *("linear", "matmul", "__matmul__", "mm", "mv", "bmm", "addmm", "addbmm", "baddbmm", "einsum", "prelu"),
    *("scaled_dot_product_attention", "multi_head_attention_forward"),
    "depthwise_conv2d.default",  # of backbones.layers, which casts under autocast as torch's convolutions do
}
FULL = {
    *("layer_norm", "group_norm", "norm", "vector_norm", "normalize", "cosine_similarity", "softmax", "log_softmax"),
    *("exp", "expm1", "log", "log2", "log10", "log1p", "pow", "__pow__", "__rpow__", "reciprocal", "rsqrt", "softplus"),
    *("sum", "prod", "cumsum", "cumprod", "cdist", "dist", "renorm"),
    *("cross_entropy", "nll_loss", "binary_cross_entropy_with_logits", "kl_div"),
    *("l1_loss", "mse_loss", "smooth_l1_loss", "huber_loss", "soft_margin_loss"),
}
# Fused attention wants rows of its bias aligned to 16 bytes, and pads them.
ATTENTION_ALIGNMENT_BYTES = 16


class CudaOperators(TorchFunctionMode):
    """Under this mode, operators on CPU tensors keep for their backward what they keep on CUDA.

    It also answers, for fake tensors, questions to which only contents know an answer: a condition is met, a number
    is 1, and of what a mask selects, all is (a share of it for `nonzero`: the levels of a pyramid share regions).

    Args:
        half: autocast to float16; weights are cast once a forward pass, and the casts are kept until it ends.
        shares: of how many parts a mask of `nonzero` selects one.
    """

    def __init__(self, half: bool, shares: int = 4) -> None:
        super().__init__()
        self.half = half
        self.shares = shares
        self._cast_weights: dict[int, Tensor] = {}

    def forget_casts(self) -> None:
        """What leaving autocast does: casts of weights that no backward needs are freed."""
        self._cast_weights.clear()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run `func` as CUDA would, or answer what it asks."""
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in ("__bool__", "item", "__float__", "__int__"):
            return {"__bool__": True, "item": 1.0, "__float__": 1.0, "__int__": 1}[name]
        if name == "nonzero":
            return self._positions(*args, **kwargs)
        if name == "__getitem__":
            args = (args[0], _without_masks(args[1]))
        if self.half and name in HALF:
            args, kwargs = tree_map(self._halved, (args, kwargs))
        elif self.half and name in FULL:
            args, kwargs = tree_map(_full, (args, kwargs))
        if func is functional.dropout:
            return _dropout(*args, **kwargs)
        if func is functional.scaled_dot_product_attention:
            return _attention(*args, **kwargs)
        return func(*args, **kwargs)

    def _halved(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or value.dtype != torch.float32:
            return value
        if not (value.is_leaf and value.requires_grad):
            return value.to(torch.float16)
        if id(value) not in self._cast_weights:
            self._cast_weights[id(value)] = value.to(torch.float16)
        return self._cast_weights[id(value)]

    def _positions(self, mask: Tensor, as_tuple: bool = False) -> Any:
        count = -(-mask.numel() // self.shares)
        if as_tuple:
            return tuple(torch.zeros(count, dtype=torch.long) for _ in range(mask.dim()))
        return torch.zeros(count, mask.dim(), dtype=torch.long)


def _full(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype == torch.float16 else value


def _without_masks(index: Any) -> Any:
    """An index with positions for masks: where a mask is, everything is selected."""
    parts = index if isinstance(index, tuple) else (index,)
    positions: list[Any] = []
    for part in parts:
        if isinstance(part, Tensor) and part.dtype == torch.bool:
            positions += [torch.zeros(part.numel(), dtype=torch.long) for _ in range(part.dim())]
        else:
            positions.append(part)
    return tuple(positions)


def _dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """With a mask of one byte a value, as CUDA's kernel keeps it."""
    if not training or p == 0:
        return x
    return torch.native_dropout(x, p, True)[0]


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **unused: Any,
) -> Tensor:
    """CUDA's memory-efficient kernel, which keeps one number a row and not the matrix."""
    if attn_mask is not None:
        alignment = ATTENTION_ALIGNMENT_BYTES // query.element_size()
        length = attn_mask.shape[-1]
        if length % alignment:
            attn_mask = functional.pad(attn_mask.to(query.dtype), (0, -length % alignment))[..., :length]
        attn_mask = attn_mask.to(query.dtype).expand(*query.shape[:-1], key.shape[-2])
    attended: Tensor = torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, attn_mask, True, dropout_p, is_causal, scale=scale
    )[0]
    return attended

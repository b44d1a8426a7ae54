"""The sigmoid focal loss and its gradient ("Focal Loss for Dense Object Detection", sec. 3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from densebench.mmcv_ops.kernels import full_precision


def sigmoid_focal_loss_forward(
    logits: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Writes the loss of each logit (N, C) into output (N, C).

    The target (N,) is the class, C for background. The weights of the classes are (C,), or empty for none;
    background has weight 1.
    """
    x = full_precision(logits)
    p, q = torch.sigmoid(x), torch.sigmoid(-x)  # q = 1 - p, without its rounding
    positive = -alpha * q**gamma * logsigmoid(x)
    negative = -(1 - alpha) * p**gamma * logsigmoid(-x)
    loss = torch.where(_is_target(target, x.shape[1]), positive, negative)
    output.copy_(loss * _row_weight(target, weight, x))


def sigmoid_focal_loss_backward(
    logits: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Writes the derivative of each loss by its logit into grad_input (N, C); arguments as in the forward."""
    x = full_precision(logits)
    p, q = torch.sigmoid(x), torch.sigmoid(-x)
    positive = alpha * q**gamma * (gamma * p * logsigmoid(x) - q)
    negative = (1 - alpha) * p**gamma * (p - gamma * q * logsigmoid(-x))
    derivative = torch.where(_is_target(target, x.shape[1]), positive, negative)
    grad_input.copy_(derivative * _row_weight(target, weight, x))


def _is_target(target: Tensor, num_classes: int) -> Tensor:
    """(N,) -> (N, C), true at the target's class and nowhere in a row of background."""
    return target[:, None] == torch.arange(num_classes, device=target.device)


def _row_weight(target: Tensor, weight: Tensor, like: Tensor) -> Tensor:
    """The weight (N, 1) of each target's class, or 1."""
    if weight.numel() == 0:
        return like.new_ones(1)
    with_background = torch.cat((weight.to(like), like.new_ones(1)))  # (C + 1,)
    return with_background[target][:, None]

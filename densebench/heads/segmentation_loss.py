"""What mmseg's decode heads compute in training beside their maps: the losses, and for the log the accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from mmengine.hooks import Hook, LoggerHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from torch import Tensor, nn


class LoggedAccuracy(BaseDecodeHead):
    """A decode head whose `acc_seg`, the percentage of pixels that are right, is computed when somebody reads it.

    mmseg computes it in every iteration, by a topk over all pixels, though its log shows the value of one iteration
    in fifty. Without `LoggedAccuracyHook` it is in every iteration here too.
    """

    computes_accuracy = True

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: Sequence[Any]) -> dict[str, Tensor]:
        """Scores (N, classes, h, w) and labels -> mmseg's losses, and `acc_seg` when it is asked for."""
        labels = self._stack_batch_gt(batch_data_samples)  # (N, 1, H, W)
        scores = resize(seg_logits, size=labels.shape[2:], mode="bilinear", align_corners=self.align_corners)
        weight = None if self.sampler is None else self.sampler.sample(scores, labels)
        labels = labels.squeeze(1)
        losses: dict[str, Tensor] = {}
        parts: Iterable[Any] = self.loss_decode if isinstance(self.loss_decode, nn.ModuleList) else (self.loss_decode,)
        for part in parts:
            value = part(scores, labels, weight=weight, ignore_index=self.ignore_index)
            losses[part.loss_name] = losses[part.loss_name] + value if part.loss_name in losses else value
        if self.computes_accuracy:
            losses["acc_seg"] = accuracy(scores.detach(), labels, self.ignore_index)
        return losses


def accuracy(scores: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
    """(N, classes, H, W), (N, H, W) -> (1,): percent of the labelled pixels whose highest score is their class's.

    mmseg's `accuracy` to the last bit, but for pixels with two highest scores.
    """
    is_labelled = labels != ignore_index
    is_right = (scores.argmax(dim=1) == labels) & is_labelled
    epsilon = torch.finfo(torch.float32).eps  # mmseg's, for batches without a labelled pixel
    right = is_right.sum(dtype=torch.float32)[None] + epsilon
    return right * (100.0 / (is_labelled.sum(dtype=torch.float64) + epsilon))


@HOOKS.register_module()
class LoggedAccuracyHook(Hook):
    """Lets the heads compute `acc_seg` in those iterations alone that the log shows.

    A line of the log shows the accuracy of its own iteration, as with mmseg's heads: mmengine averages losses over its
    window, all else is the newest value. Without a LoggerHook nothing is left out.
    """

    def before_train(self, runner: Runner) -> None:
        """Find the heads and who reads them."""
        self._heads = [module for module in runner.model.modules() if isinstance(module, LoggedAccuracy)]
        self._loggers = [hook for hook in runner.hooks if isinstance(hook, LoggerHook)]

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Ask for the accuracy, or do not."""
        asked = not self._loggers or any(
            logger.every_n_inner_iters(batch_idx, logger.interval)
            or logger.end_of_epoch(runner.train_dataloader, batch_idx)
            for logger in self._loggers
        )
        _ask(self._heads, asked)

    def after_train(self, runner: Runner) -> None:
        """Leave the heads as they were."""
        _ask(self._heads, True)


def _ask(heads: Iterable[LoggedAccuracy], asked: bool) -> None:
    for head in heads:
        head.computes_accuracy = asked

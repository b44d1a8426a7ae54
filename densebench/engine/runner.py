"""mmengine's Runner with safe reading and whole writing of checkpoints, and a quiet console."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.evaluator import Evaluator
from mmengine.model import MMDistributedDataParallel, is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from densebench.checkpoint import load_state, read_checkpoint, require_match, state_dict_of
from densebench.errors import DensebenchError


class SafeRunner(Runner):
    """Reads checkpoints through `densebench.checkpoint`, never unpickling; writes them to a temporary name first."""

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        """As mmengine's, which cannot distribute a model on the CPU: it names CUDA devices always."""
        if self.distributed and not torch.cuda.is_available():
            wrapped: nn.Module = MMDistributedDataParallel(module=model, broadcast_buffers=False)
            return wrapped
        return super().wrap_model(model_wrapper_cfg, model)

    def build_evaluator(self, evaluator: Any) -> Evaluator:
        """As mmengine's; processes exchange their results in the work dir, not in a folder left in the current one."""
        built = super().build_evaluator(evaluator)
        for metric in built.metrics:
            metric.collect_dir = str(Path(self.work_dir) / f".results-{self.timestamp}")
        return built

    def load_checkpoint(self, filename: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load the model's whole state from a checkpoint of ours; mmengine's `resume` goes through here too.

        Raises:
            DensebenchError: an unreadable file, or one of another model.
        """
        checkpoint = read_checkpoint(filename)
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        model = self.model.module if is_model_wrapper(self.model) else self.model
        report = load_state(model, state_dict_of(checkpoint))
        require_match(report, filename, "the model", min_percent=100.0, allow_partial=False)
        if self._resume:
            require_same_schedule(checkpoint, self.cfg.param_scheduler, filename)
        self._has_loaded = True
        self.logger.info(f"Loaded {filename}: {report.summary()}")
        return checkpoint

    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        """As mmengine's, but a run that is stopped while writing leaves no half file under the final name."""
        partial = f".{filename}.partial"
        super().save_checkpoint(out_dir, partial, *args, **kwargs)
        written = Path(out_dir) / partial
        if written.exists():  # only the main process writes
            written.replace(Path(out_dir) / filename)


def require_same_schedule(checkpoint: dict[str, Any], schedulers: list[dict[str, Any]], filename: str) -> None:
    """Refuse to resume under another schedule or batch split: the schedulers' state would end the rate too early.

    Raises:
        DensebenchError: the saved schedulers end at other iterations than the config's.
    """
    saved = [state.get("end") for state in checkpoint.get("param_schedulers", [])]
    wanted = [config.get("end", end) for config, end in zip(schedulers, saved, strict=False)]
    if saved != wanted:
        raise DensebenchError(
            f"{filename} was trained under a schedule that ends at iterations {saved}, this run's ends at {wanted}. "
            "Resume with the same --images-per-gpu, processes and schedule, or start anew in another --work-dir."
        )

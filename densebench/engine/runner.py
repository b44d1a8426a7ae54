"""mmengine's Runner with safe reading and whole writing of checkpoints, and a quiet console."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.model import MMDistributedDataParallel, is_model_wrapper
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import nn

from densebench.building import require_optimizer, told
from densebench.checkpoint import load_state, read_checkpoint, require_match, state_dict_of
from densebench.engine.console import captured_imports
from densebench.engine.resuming import WAYS_OUT, require_resumable, require_same_schedule
from densebench.engine.work_dir import PARTIAL
from densebench.errors import DensebenchError


class ScalarVisualizer(Visualizer):
    """Writes a run's scalars and draws nothing; mmengine's brings matplotlib for a figure, a second at every start."""

    def _initialize_fig(self, fig_cfg: dict[str, Any]) -> tuple[None, _NoFigure, None]:
        return None, _NoFigure(), None


class _NoFigure:
    def get_dpi(self) -> float:
        return 100.0  # matplotlib's own


class SafeRunner(Runner):
    """Reads checkpoints through `densebench.checkpoint`, never unpickling; writes them to a temporary name first."""

    def __init__(self, *arguments: Any, experiment_name: str | None = None, **options: Any) -> None:
        # mmengine names a run by the second in which it began, and hangs scope, log and messages on that name: of two
        # in one second the later would look for its parts in the toolbox of the earlier.
        super().__init__(*arguments, experiment_name=experiment_name or secrets.token_hex(4), **options)

    @classmethod
    def from_cfg(cls, cfg: Config) -> SafeRunner:
        """As mmengine's; what the config says wrongly of model or hooks is told in one line."""
        with told("The run"):
            runner: SafeRunner = super().from_cfg(cfg)
        return runner

    def build_visualizer(self, visualizer: Any = None) -> Visualizer:
        """As mmengine's; where no hook draws (mmengine's, mmseg's and mmdet's are called so), one without a figure."""
        hooks = [*self.cfg.get("default_hooks", {}).values(), *self.cfg.get("custom_hooks", [])]
        draws = any("Visualization" in str(hook.get("type")) for hook in hooks if isinstance(hook, dict))
        if isinstance(visualizer, dict) and not draws:
            visualizer = {**visualizer, "type": ScalarVisualizer}
        return super().build_visualizer(visualizer)

    def build_train_loop(self, loop: Any) -> Any:
        """As mmengine's, told in one line; the data set and its loader are built here."""
        with self._building("The training loop"):
            return super().build_train_loop(loop)

    def build_val_loop(self, loop: Any) -> Any:
        """As `build_train_loop`, for validation."""
        with self._building("The validation loop"):
            return super().build_val_loop(loop)

    def build_test_loop(self, loop: Any) -> Any:
        """As `build_train_loop`, for tests."""
        with self._building("The test loop"):
            return super().build_test_loop(loop)

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """As mmengine's, told in one line."""
        with told("The optimizer"):
            if isinstance(optim_wrapper, dict):
                require_optimizer(optim_wrapper)
            return super().build_optim_wrapper(optim_wrapper)

    @contextmanager
    def _building(self, what: str) -> Iterator[None]:
        with told(what), captured_imports() as notices:
            try:
                yield
            finally:
                if notices.getvalue():
                    self.logger.info("notices while building: %s\n%s", what, notices.getvalue())

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
        require_match(report, filename, "the model", min_percent=100.0, allow_partial=False, way_out=f"{WAYS_OUT}.")
        if self._resume:
            require_resumable(checkpoint, filename)
            require_same_schedule(checkpoint, self.cfg.param_scheduler, filename)
        self._has_loaded = True
        self.logger.info(f"Loaded {filename}: {report.summary()}")
        return checkpoint

    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        """As mmengine's, but a run that is stopped while writing leaves no half file under the final name.

        Raises:
            DensebenchError: the file cannot be written, on a full disk for one.
        """
        final = Path(out_dir) / filename
        partial = final.with_name(PARTIAL.format(filename))
        try:
            super().save_checkpoint(out_dir, partial.name, *args, **kwargs)
            if self.rank == 0:  # only the main process writes
                partial.replace(final)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise DensebenchError(
                f"The checkpoint {final} cannot be written ({error.strerror}). Make room, or name another --work-dir; "
                "--resume goes on from the newest checkpoint that is there."
            ) from error

"""What a run says on the console: a line per logging interval and a progress bar; all else goes to the log file."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from densebench.engine.distributed import is_main_process

# Of the toolboxes' own code, which no user can change: FCOS's call of torch.meshgrid, and resizing with align_corners
# to sizes that are no whole multiples.
HARMLESS_WARNINGS = ("torch.meshgrid", "When align_corners=True")


class RateColumn(ProgressColumn):
    """Steps per second, or seconds per step where that reads better."""

    def render(self, task: Task) -> Text:
        """The rate over the last steps."""
        if not task.speed:
            return Text("-")
        return Text(f"{task.speed:.1f}/s" if task.speed >= 1 else f"{1 / task.speed:.1f} s each")


class ProgressHook(Hook):
    """A progress bar with rate and remaining time over training iterations or test images.

    On a terminal the bar moves; into a file or pipe only the lines of the logging intervals are written.
    """

    # Before the learning rate moves on to the next iteration.
    priority = "BELOW_NORMAL"

    def __init__(
        self, console: Console, interval: int, unit: str, result_line: Callable[[Mapping[str, float]], str]
    ) -> None:
        self.console = console
        self.interval = interval
        self.result_line = result_line
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn(unit),
            RateColumn(),
            TextColumn("remaining"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task: Any = None

    def before_train(self, runner: Runner) -> None:
        """Start the bar."""
        self._start("training", runner.max_iters, runner.iter)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Advance the bar; every interval write the loss, the learning rate and the time per iteration."""
        self.progress.advance(self._task)
        done = runner.iter + 1
        if done % self.interval == 0 or done == runner.max_iters:
            self.console.print(_training_line(runner, done))

    def after_train(self, runner: Runner) -> None:
        """Remove the bar."""
        self.progress.stop()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write the validation result."""
        if metrics:
            self.console.print(f"  validation: {self.result_line(metrics)}")

    def before_test(self, runner: Runner) -> None:
        """Start the bar."""
        self._start("testing", len(runner.test_dataloader), 0)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Advance the bar; off a terminal a line is written every tenth of the way."""
        self.progress.advance(self._task)
        total = len(runner.test_dataloader)
        if not self.console.is_terminal and (batch_idx + 1) % max(total // 10, 1) == 0:
            task = self.progress.tasks[self._task]
            remaining = (total - batch_idx - 1) * (task.elapsed or 0.0) / (batch_idx + 1)
            self.console.print(f"  tested {batch_idx + 1}/{total}, {remaining:.0f} s remaining")

    def after_test(self, runner: Runner) -> None:
        """Remove the bar."""
        self.progress.stop()

    def _start(self, what: str, total: int, done: int) -> None:
        self.progress.start()
        self._task = self.progress.add_task(what, total=total, completed=done)
        if not self.console.is_terminal:
            # A disabled bar starts no clock of its own.
            self.progress.start_task(self._task)


def console() -> Console:
    """The console of the tools: long paths are never wrapped, and of several processes only the main one speaks."""
    return Console(soft_wrap=True, highlight=False, quiet=not is_main_process())


def quiet_logger(logger: MMLogger) -> None:
    """Keep the toolboxes' messages off the console; the log file keeps everything.

    A logger that was made under `captured_imports` writes its warnings there: they are of recipes that work, as that a
    metric has no prefix.
    """
    for harmless in HARMLESS_WARNINGS:
        warnings.filterwarnings("ignore", message=harmless)
    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.WARNING)


@contextlib.contextmanager
def captured_imports() -> Iterator[io.StringIO]:
    """Import or build without the toolboxes' notices on the console; yields what they printed, warnings among it."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text), warnings.catch_warnings():
        warnings.simplefilter("default")
        yield text


def _training_line(runner: Runner, done: int) -> str:
    scalars = runner.message_hub.log_scalars
    loss = scalars["train/loss"].mean(min(done, 50))
    seconds = scalars["train/time"].mean(min(done, 50))
    rates = runner.optim_wrapper.get_lr()
    rate = rates.get("base_lr", rates["lr"])[0]  # before any decay by layer
    remaining = seconds * (runner.max_iters - done)
    return (
        f"  iteration {done}/{runner.max_iters}  loss {loss:.4f}  lr {rate:.2e}  "
        f"{seconds:.2f} s each, {_duration(remaining)} remaining"
    )


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"

"""Where the wall time of a run goes: the model, waiting for data, evaluation, checkpoints."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from logging import Logger
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console

MODEL = "model"
START = "start"
OTHER = "other"  # hooks, logging, progress


@dataclass(frozen=True)
class TimeSpent:
    """Wall seconds of a run."""

    start_s: float  # until the loop began; apart, for it does not grow with a run
    run_s: float  # all after it
    parts_s: Mapping[str, float]  # on CUDA they may add up to more than run_s: the program works beside the device

    def shares(self) -> dict[str, float]:
        """What each part takes of the run without its start, in percent."""
        return {part: 100 * seconds / self.run_s for part, seconds in self.parts_s.items()}

    def line(self) -> str:
        """The summary, the largest part first."""
        shares = sorted(self.shares().items(), key=lambda item: -item[1])
        told = ", ".join(f"{part} {share:.1f} %" for part, share in shares)
        return f"Time: {self.start_s:.1f} s to start, then {self.run_s:.1f} s: {told}"


class PartClock:
    """Wall seconds of the parts of a run, of which one is always running; what runs inside a part is not counted to it.

    On CUDA the model's kernels run on after the call that asked for them has returned. There the model's seconds are
    those between two events on the device, read when they have passed, so that nothing waits for them; the other parts
    are the program's own, beside which the device may work on.
    """

    def __init__(self) -> None:
        self._host: dict[str, float] = {}
        self._part, self._since = START, time.perf_counter()
        self._events: deque[tuple[torch.cuda.Event, torch.cuda.Event]] | None = None
        self._device = 0.0

    def switch(self, part: str) -> str:
        """From now on `part` is running; returns what was."""
        now, before = time.perf_counter(), self._part
        self._host[before] = self._host.get(before, 0.0) + now - self._since
        self._part, self._since = part, now
        return before

    def count_calls(self, owner: Any, method: str, part: str) -> None:
        """From now on count what an object's method takes for `part`."""
        call: Callable[..., Any] = getattr(owner, method)
        by_events = part == MODEL and torch.cuda.is_available()
        if by_events and self._events is None:
            self._events = deque()

        def counted(*arguments: Any, **options: Any) -> Any:
            before = self.switch(part)
            start = _recorded() if by_events else None
            try:
                return call(*arguments, **options)
            finally:
                if start is not None:
                    self._read_events((start, _recorded()))
                self.switch(before)

        setattr(owner, method, counted)

    def spent(self) -> TimeSpent:
        """The seconds until now."""
        self.switch(self._part)
        parts = {part: seconds for part, seconds in self._host.items() if part != START}
        run_s = sum(parts.values())
        if self._events is not None:
            torch.cuda.synchronize()
            self._read_events()
            parts[MODEL] = self._device
        return TimeSpent(self._host[START], run_s, parts)

    def _read_events(self, *new: tuple[torch.cuda.Event, torch.cuda.Event]) -> None:
        assert self._events is not None
        self._events.extend(new)
        while self._events and self._events[0][1].query():
            start, end = self._events.popleft()
            self._device += start.elapsed_time(end) / 1000  # ms


def _recorded() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


class TimeShareHook(Hook):
    """Measures what share of a run's wall time its parts take; counts from when it is made.

    The model's part is a training step (forward, backward and the optimizer's step), and in a test all from an image to
    its prediction. Data is what the loop waits for: loading beside the model costs nothing here.
    """

    # After all other hooks: what follows an iteration is the wait for the next batch.
    priority = "LOWEST"

    def __init__(self) -> None:
        self._clock = PartClock()

    def before_train(self, runner: Runner) -> None:
        """Watch the training step and checkpoints."""
        self._clock.count_calls(runner.model, "train_step", MODEL)
        self._clock.count_calls(runner, "save_checkpoint", "checkpoints")
        self._clock.switch("data")

    def before_test(self, runner: Runner) -> None:
        """Watch the model and its evaluation."""
        self._clock.count_calls(runner.model, "test_step", MODEL)
        for method in ("process", "evaluate"):
            self._clock.count_calls(runner.test_evaluator, method, "evaluation")
        self._clock.switch("data")

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """The batch is there."""
        self._clock.switch(OTHER)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """The wait for the next batch begins."""
        self._clock.switch("data")

    before_test_iter = before_train_iter
    after_test_iter = after_train_iter

    def before_val(self, runner: Runner) -> None:
        """A validation is one part, its model and data included."""
        self._clock.switch("validation")

    def after_val(self, runner: Runner) -> None:
        """On with the training."""
        self._clock.switch("data")

    def after_train(self, runner: Runner) -> None:
        """The loop is over."""
        self._clock.switch(OTHER)

    after_test = after_train

    def spent(self) -> TimeSpent:
        """The seconds until now."""
        return self._clock.spent()


def tell_time(spent: TimeSpent, screen: Console, logger: Logger) -> None:
    """Write the summary to the console and to the log file."""
    screen.print(spent.line())
    logger.info(spent.line())

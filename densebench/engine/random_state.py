"""Random numbers that go on where a run stopped, so that a resumed run is the run that it resumes."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

KEY = "random_state"


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Keeps the state of all generators of one process in its checkpoints, and takes it up when resuming.

    Crops, flips and dropped paths then go on as if the run had not been stopped. Where loader workers draw the crops,
    or several processes run, what was theirs starts again from the seed; the order of the images goes on always.
    """

    def __init__(self) -> None:
        self._resumed: dict[str, Any] | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Remember the state for the start."""
        self._resumed = checkpoint.get(KEY)

    def before_train(self, runner: Runner) -> None:
        """Take the state up."""
        for loop in (runner.train_loop, runner.val_loop):
            if loop is not None:
                # A loader draws a number for its workers each time it starts, and how often it does depends on when
                # a run is stopped.
                loop.dataloader.generator = torch.Generator()
        if runner.iter > 0 and runner.world_size == 1 and self._resumed is not None:
            restore(self._resumed)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Called with the checkpoint about to be written."""
        if runner.world_size == 1:
            checkpoint[KEY] = captured()


def captured() -> dict[str, Any]:
    """The state of Python's, numpy's and torch's generators as plain numbers and tensors."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    version, words, next_gauss = random.getstate()
    return {
        "python": [version, list(words), next_gauss],
        "numpy": [name, [int(key) for key in keys], int(position), int(has_gauss), float(gauss)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def restore(state: dict[str, Any]) -> None:
    """Set the generators to what `captured` gave; a GPU's only where there is one."""
    version, words, next_gauss = state["python"]
    random.setstate((version, tuple(words), next_gauss))
    name, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])

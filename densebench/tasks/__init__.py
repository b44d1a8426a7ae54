"""What sets segmentation and detection apart: model filling, pipelines, metric, miniature sizes, toolbox."""

from __future__ import annotations

from densebench.errors import DensebenchError
from densebench.tasks.detection import DETECTION
from densebench.tasks.interface import Task
from densebench.tasks.segmentation import SEGMENTATION

TASKS = (SEGMENTATION, DETECTION)


def task_of(method: str) -> Task:
    """The task that a method solves.

    Raises:
        DensebenchError: an unknown method.
    """
    for task in TASKS:
        if method in task.methods:
            return task
    known = ", ".join(name for task in TASKS for name in task.methods)
    raise DensebenchError(f"Unknown method '{method}'; there are: {known}.")

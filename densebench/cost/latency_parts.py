"""Where the time of a test step goes: data, backbone, neck, heads, and what follows them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from densebench.cost.latency import synchronize

# What normalizes and pads, and the modules with weights; what a model does not have is left out.
PARTS = {
    "data": ("data_preprocessor",),
    "backbone": ("backbone",),
    "neck": ("neck",),
    "head": (
        *("decode_head", "rpn_head", "bbox_head"),
        *(f"roi_head.{name}" for name in ("bbox_roi_extractor", "bbox_head", "mask_roi_extractor", "mask_head")),
    ),
}
REST = "post_processing"  # resizing scores, choosing and suppressing boxes, masks at the images' size


def measure_parts(
    run: Callable[[], object], model: nn.Module, device: torch.device, runs: int, max_seconds: float
) -> dict[str, float]:
    """Median time in ms of each part of `run`, over `runs` runs or until the time is over, three at least.

    The device is synchronized around every part, so the parts of one run add up to a little more than a run takes.
    """
    seconds: dict[str, list[float]] = {}
    began = time.perf_counter()
    with torch.inference_mode():
        while len(seconds.get(REST, ())) < runs:
            done = len(seconds.get(REST, ()))
            if done >= 3 and time.perf_counter() - began > max_seconds:
                break
            for name, value in _timed_run(run, model, device).items():
                seconds.setdefault(name, []).append(value)
    return {name: 1000 * statistics.median(values) for name, values in seconds.items()}


def _timed_run(run: Callable[[], object], model: nn.Module, device: torch.device) -> dict[str, float]:
    spent: dict[str, float] = {}
    with timed_forwards(model, device, spent):
        synchronize(device)
        start = time.perf_counter()
        run()
        synchronize(device)
        total = time.perf_counter() - start
    return {**spent, REST: total - sum(spent.values())}


@contextmanager
def timed_forwards(model: nn.Module, device: torch.device, spent: dict[str, float]) -> Iterator[None]:
    """Adds the seconds of each part's forward calls to `spent`."""
    timed: list[nn.Module] = []
    for part, names in PARTS.items():
        for name in names:
            for module in _modules(model, name):
                spent.setdefault(part, 0.0)
                # The instance's own attribute: mmseg calls `head.forward`, which hooks of torch do not see.
                before = vars(module).get("forward")
                vars(module)["forward"] = _timed(module.forward, part, device, spent)
                vars(module)["_untimed_forward"] = before
                timed.append(module)
    try:
        yield
    finally:
        for module in timed:
            before = vars(module).pop("_untimed_forward")
            del vars(module)["forward"]
            if before is not None:
                vars(module)["forward"] = before


def _timed(forward: Callable[..., Any], part: str, device: torch.device, spent: dict[str, float]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        synchronize(device)
        start = time.perf_counter()
        result = forward(*args, **kwargs)
        synchronize(device)
        spent[part] += time.perf_counter() - start
        return result

    return run


def _modules(model: nn.Module, name: str) -> list[nn.Module]:
    """The module of that name, all of a list of stages, or none."""
    try:
        module = model.get_submodule(name)
    except AttributeError:
        return []
    return list(module) if isinstance(module, nn.ModuleList) else [module]

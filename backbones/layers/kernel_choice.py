"""Which algorithm computes a depthwise convolution: measured once per kind of problem, or fixed.

As with cudnn.benchmark, the algorithms are timed when a kind of problem is met first, and the fastest is kept for the
rest of the process. A kind is the pass, device, dtype, layout, threads, kernel and its settings, and channels, batch
and map size in steps: maps of all sizes within a factor of sqrt(2) in side length count as one square map, so that
multi-scale training and testing measure a handful of sizes. What is timed has few images and channels, some
`MEASURED_PRODUCTS` multiply-adds: about a second in all for a network with four kinds of layers.

Different algorithms round differently, and near a tie two runs may choose differently. On the CPU kernels up to 13x13
therefore follow a fixed rule of kernel, map and layout. The environment variable DENSEBENCH_LARGE_KERNEL fixes the
choice for all: `rule`, which `torch.use_deterministic_algorithms(True)` selects as well, or the name of an algorithm
for all passes that it can compute (`contiguous` is nn.Conv2d as it ships); `measured` is the default.
"""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from backbones.layers.depthwise_algorithms import (
    Algorithm,
    Pass,
    candidates,
    has_contiguous,
    possible,
    run_forward,
    run_gradients,
)
from backbones.layers.direct_convolution import Geometry, memory_format
from backbones.layers.processor import HAS_AVX512

SETTING = "DENSEBENCH_LARGE_KERNEL"
# The slowest candidate that is left reaches some 5e9 a second on a core.
MEASURED_PRODUCTS = 2**28
MAX_SIDE = 512  # larger maps are timed at this size: all algorithms are linear in the area by then
# The rule's algorithm stays unless another one is faster by this factor: noise should not make the choice.
MARGIN = 1.2
# Up to this side the CPU's kernels follow the rule, which has been right there on every processor that was tried: the
# same seed gives the same weights, bit for bit.
MAX_SETTLED_KERNEL = 13
# An algorithm is timed until both are reached, and the best run counts: on a busy machine most runs are disturbed.
MIN_RUNS = 3
MIN_SECONDS = 0.02


@dataclass(frozen=True)
class Problem:
    """A kind of problem that is timed once: a square map, few images and channels."""

    step: Pass
    device: torch.device
    dtype: torch.dtype
    layout: torch.memory_format
    threads: int
    images: int
    channels: int
    side: int
    kernel: tuple[int, int]
    geometry: Geometry


def choose_forward(x: Tensor, weight: Tensor, geometry: Geometry) -> Algorithm:
    """The algorithm of a forward pass.

    Raises:
        ValueError: the setting names none.
    """
    return _choose(Pass.FORWARD, x, weight, geometry)[0]


def choose_gradients(
    x: Tensor, weight: Tensor, geometry: Geometry, wants_x: bool, wants_weight: bool
) -> tuple[Algorithm | None, Algorithm | None]:
    """The algorithms of the gradients for x and for the weight; None for one that is not wanted.

    Raises:
        ValueError: the setting names none.
    """
    for_x = _choose(Pass.INPUT_GRADIENT, x, weight, geometry) if wants_x else (None, None)
    for_weight = _choose(Pass.WEIGHT_GRADIENT, x, weight, geometry) if wants_weight else (None, None)
    if for_x[1] is not None and for_weight[1] is not None:
        together = measured_seconds(_problem(Pass.BOTH_GRADIENTS, x, weight, geometry))
        for algorithm, seconds in together.items():
            if seconds < for_x[1] + for_weight[1]:
                return algorithm, algorithm
    return for_x[0], for_weight[0]


def rule(step: Pass, x: Tensor, weight: Tensor, geometry: Geometry) -> Algorithm:
    """The fixed choice, from timings on CPUs with AVX-512 and with AVX2; elsewhere torch's own convolution as it is."""
    if x.device.type != "cpu":
        return Algorithm.CONTIGUOUS
    timed = candidates(step, x, weight, geometry)
    if Algorithm.FOURIER in timed and min(weight.shape[2:]) >= 25 and _side(x) >= (64 if HAS_AVX512 else 32):
        return Algorithm.FOURIER
    if step is Pass.WEIGHT_GRADIENT:
        is_long = not HAS_AVX512 and min(weight.shape[2:]) >= 11 and _side(x) >= 96
        return Algorithm.FOURIER if is_long and Algorithm.FOURIER in timed else Algorithm.CORRELATION
    if has_contiguous(step, weight) and memory_format(x) is torch.contiguous_format:
        return Algorithm.CONTIGUOUS
    return Algorithm.CORRELATION if Algorithm.CORRELATION in timed else Algorithm.CHANNELS_LAST


def _choose(step: Pass, x: Tensor, weight: Tensor, geometry: Geometry) -> tuple[Algorithm, float | None]:
    """The algorithm, and its measured seconds where it is not fixed."""
    setting = os.environ.get(SETTING, "measured")
    names = [algorithm.value for algorithm in Algorithm]
    if setting not in ("measured", "rule", *names):
        raise ValueError(f"{SETTING} is one of measured, rule, {', '.join(names)}, not '{setting}'.")
    if setting in names and Algorithm(setting) in possible(step, x, weight, geometry):
        return Algorithm(setting), None
    by_rule = rule(step, x, weight, geometry)
    is_settled = x.device.type == "cpu" and max(weight.shape[2:]) <= MAX_SETTLED_KERNEL
    is_capturing = x.device.type == "cuda" and torch.cuda.is_current_stream_capturing()
    if setting != "measured" or is_settled or is_capturing or torch.are_deterministic_algorithms_enabled():
        return by_rule, None
    seconds = measured_seconds(_problem(step, x, weight, geometry))
    fastest = min(seconds, key=lambda algorithm: seconds[algorithm])
    chosen = fastest if seconds[by_rule] > MARGIN * seconds[fastest] else by_rule
    return chosen, seconds[chosen]


def _problem(step: Pass, x: Tensor, weight: Tensor, geometry: Geometry) -> Problem:
    kernel = (weight.shape[2], weight.shape[3])
    # Side lengths in steps of sqrt(2): 8, 11, 16, 23, 32, ...
    side = min(round(2 ** (round(2 * math.log2(_side(x))) / 2)), MAX_SIDE)
    reach = max(geometry.dilation[i] * (kernel[i] - 1) + 1 - 2 * geometry.padding[i] for i in (0, 1))
    side = max(side, reach)  # rounding must not leave less than an unpadded kernel needs
    products = side * side * kernel[0] * kernel[1]
    # 32 at least: with 16, oneDNN has no fast bfloat16 convolution, which real layers have.
    channels = min(_power_of_two(weight.shape[0]), max(32, _power_of_two(MEASURED_PRODUCTS // products)))
    images = min(_power_of_two(x.shape[0]), max(1, _power_of_two(MEASURED_PRODUCTS // (products * channels))))
    return Problem(
        step=step,
        device=x.device,
        dtype=x.dtype,
        layout=memory_format(x),
        threads=torch.get_num_threads(),
        images=images,
        channels=channels,
        side=side,
        kernel=kernel,
        geometry=geometry,
    )


@functools.cache
def measured_seconds(problem: Problem) -> Mapping[Algorithm, float]:
    """Time of each algorithm that can compute a problem, in seconds; each problem is measured once a process."""
    kernel, side = problem.kernel, problem.side
    with torch.inference_mode(False), torch.no_grad():
        # Ones, since random numbers would move the generator of the run.
        ones = functools.partial(torch.ones, device=problem.device, dtype=problem.dtype)
        weight = ones((problem.channels, 1, *kernel))
        x = ones((problem.images, problem.channels, side, side)).contiguous(memory_format=problem.layout)
        output = problem.geometry.output_size((side, side), kernel)
        gradient = ones((problem.images, problem.channels, *output)).contiguous(memory_format=problem.layout)
        found: dict[Algorithm, float] = {}
        for algorithm in candidates(problem.step, x, weight, problem.geometry):
            run = functools.partial(_run, problem.step, algorithm, gradient, x, weight, problem.geometry)
            run()  # libraries prepare their work
            found[algorithm] = _best_seconds(run, problem.device)
    return found


def _run(step: Pass, algorithm: Algorithm, gradient: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> None:
    if step is Pass.FORWARD:
        run_forward(algorithm, x, weight, None, geometry)
        return
    wants_x, wants_weight = step is not Pass.WEIGHT_GRADIENT, step is not Pass.INPUT_GRADIENT
    run_gradients(algorithm if wants_x else None, algorithm if wants_weight else None, gradient, x, weight, geometry)


def _best_seconds(run: Callable[[], None], device: torch.device) -> float:
    best, total, runs = math.inf, 0.0, 0
    while runs < MIN_RUNS or total < MIN_SECONDS:
        seconds = _seconds(run, device)
        best, total, runs = min(best, seconds), total + seconds, runs + 1
        if seconds > 10 * MIN_SECONDS:  # slow enough to be told from the others by one run
            break
    return best


def _seconds(run: Callable[[], None], device: torch.device) -> float:
    if device.type != "cuda":
        start = time.perf_counter()
        run()
        return time.perf_counter() - start
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    run()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1000  # milliseconds


def _side(x: Tensor) -> float:
    """Side of the square that has a map's area."""
    return math.sqrt(x.shape[2] * x.shape[3])


def _power_of_two(number: int) -> int:
    """The largest one that is not above a number; 1 at least."""
    return 1 << max(number.bit_length() - 1, 0)

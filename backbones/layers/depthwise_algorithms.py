"""The algorithms of a depthwise convolution under one interface, for each of its passes."""

from __future__ import annotations

import enum

import torch
from torch import Tensor

from backbones.layers import direct_convolution, fourier_convolution
from backbones.layers.direct_convolution import Geometry, can_correlate_input_gradient, memory_format
from backbones.layers.processor import HAS_AVX512


class Algorithm(enum.Enum):
    """How a pass is computed."""

    CONTIGUOUS = "contiguous"  # torch's, in (N, C, H, W)
    CHANNELS_LAST = "channels_last"  # torch's, in (N, H, W, C)
    CORRELATION = "correlation"  # a gradient as torch's forward convolution, in (N, H, W, C)
    FOURIER = "fourier"


class Pass(enum.Enum):
    """What is computed; BOTH_GRADIENTS by an algorithm that shares work between them."""

    FORWARD = "forward"
    INPUT_GRADIENT = "input_gradient"
    WEIGHT_GRADIENT = "weight_gradient"
    BOTH_GRADIENTS = "both_gradients"


LAYOUTS = {Algorithm.CONTIGUOUS: torch.contiguous_format, Algorithm.CHANNELS_LAST: torch.channels_last}


# The largest kernels that oneDNN has a depthwise convolution for in (N, C, H, W), and its gradient for the input; for
# larger ones torch falls back to a matrix product per channel, tens of times slower.
MAX_CONTIGUOUS_KERNEL = {Pass.FORWARD: 13 if HAS_AVX512 else 9, Pass.INPUT_GRADIENT: 13}


def possible(step: Pass, x: Tensor, weight: Tensor, geometry: Geometry) -> tuple[Algorithm, ...]:
    """The algorithms that can compute a pass."""
    found = [Algorithm.FOURIER] if geometry.is_dense else []
    if step is Pass.BOTH_GRADIENTS:
        return tuple(found)
    if step is Pass.WEIGHT_GRADIENT or (step is Pass.INPUT_GRADIENT and can_correlate_input_gradient(weight, geometry)):
        found.append(Algorithm.CORRELATION)
    return (*found, Algorithm.CHANNELS_LAST, Algorithm.CONTIGUOUS)


def candidates(step: Pass, x: Tensor, weight: Tensor, geometry: Geometry) -> tuple[Algorithm, ...]:
    """Those of the possible algorithms that may be the best, so that no time is lost on measuring the others."""
    hopeless: set[Algorithm] = set()
    if x.device.type == "cpu" and step is Pass.WEIGHT_GRADIENT:
        hopeless = {Algorithm.CHANNELS_LAST, Algorithm.CONTIGUOUS}  # the fallback at any size, in both layouts
    elif x.device.type == "cpu" and not has_contiguous(step, weight):
        hopeless = {Algorithm.CONTIGUOUS}
    elif x.device.type != "cpu" and step is Pass.WEIGHT_GRADIENT:
        hopeless = {Algorithm.CORRELATION}  # kernels of a map's size are no case that GPU libraries are made for
    return tuple(algorithm for algorithm in possible(step, x, weight, geometry) if algorithm not in hopeless)


def has_contiguous(step: Pass, weight: Tensor) -> bool:
    """Whether the CPU has more than a fallback in (N, C, H, W) for a kernel (C, 1, K, L)."""
    return max(weight.shape[2:]) <= MAX_CONTIGUOUS_KERNEL.get(step, 0)


def run_forward(algorithm: Algorithm, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """(N, C, H, W), (C, 1, K, L), (C,) -> (N, C, H', W') in the layout of x."""
    if algorithm is Algorithm.FOURIER:
        return fourier_convolution.forward(x, weight, bias, geometry)
    output = direct_convolution.forward(x, weight, bias, geometry, LAYOUTS[algorithm])
    return output.contiguous(memory_format=memory_format(x))


def run_gradients(
    x_algorithm: Algorithm | None,
    weight_algorithm: Algorithm | None,
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    geometry: Geometry,
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients for x, in its layout, and for the weight, of an output's gradient (N, C, H', W').

    None for an algorithm leaves out the gradient. Where both have the same algorithm they share what they can.
    """
    if x_algorithm is weight_algorithm and x_algorithm is not Algorithm.CORRELATION:
        return _gradients(x_algorithm, gradient, x, weight, geometry, True, True)
    x_gradient = weight_gradient = None
    if x_algorithm is Algorithm.CORRELATION or weight_algorithm is Algorithm.CORRELATION:
        gradient = gradient.contiguous(memory_format=torch.channels_last)
    if x_algorithm is Algorithm.CORRELATION:
        x_gradient = direct_convolution.correlated_input_gradient(gradient, weight, geometry)
        x_gradient = x_gradient.contiguous(memory_format=memory_format(x))
    elif x_algorithm is not None:
        x_gradient, _ = _gradients(x_algorithm, gradient, x, weight, geometry, True, False)
    if weight_algorithm is Algorithm.CORRELATION:
        weight_gradient = direct_convolution.correlated_weight_gradient(gradient, x, weight, geometry)
    elif weight_algorithm is not None:
        _, weight_gradient = _gradients(weight_algorithm, gradient, x, weight, geometry, False, True)
    return x_gradient, weight_gradient


def _gradients(
    algorithm: Algorithm | None,
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    geometry: Geometry,
    wants_x: bool,
    wants_weight: bool,
) -> tuple[Tensor | None, Tensor | None]:
    if algorithm is None:
        return None, None
    if algorithm is Algorithm.FOURIER:
        return fourier_convolution.backward(gradient, x, weight, geometry, wants_x, wants_weight)
    found = direct_convolution.gradients(gradient, x, weight, geometry, LAYOUTS[algorithm], wants_x, wants_weight)
    x_gradient, weight_gradient = found
    return (
        None if x_gradient is None else x_gradient.contiguous(memory_format=memory_format(x)),
        None if weight_gradient is None else weight_gradient.contiguous(),
    )

"""The choice among algorithms: measured once for similar sizes, kept, and fixed where a run must be reproducible."""

from collections.abc import Iterator

import pytest
import torch

from backbones.layers import kernel_choice
from backbones.layers.depthwise_algorithms import MAX_CONTIGUOUS_KERNEL, Algorithm, Pass, candidates, possible
from backbones.layers.direct_convolution import Geometry
from backbones.layers.kernel_choice import SETTING, choose_forward, choose_gradients
from backbones.layers.large_kernel import LargeKernelConv2d

SAME = Geometry((1, 1), (15, 15), (1, 1))
STRIDED = Geometry((2, 2), (15, 15), (1, 1))
CPU = torch.device("cpu")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[kernel_choice.Problem]]:
    """The problems that are measured; FOURIER is the fastest alone, and both gradients together take 1.5 of one."""
    problems: list[kernel_choice.Problem] = []

    def times(problem: kernel_choice.Problem) -> dict[Algorithm, float]:
        if problem not in problems:
            problems.append(problem)
        if problem.step is Pass.BOTH_GRADIENTS:
            return {Algorithm.FOURIER: 1.5}
        return {algorithm: 1.0 if algorithm is Algorithm.FOURIER else 2.0 for algorithm in Algorithm}

    monkeypatch.setattr(kernel_choice, "measured_seconds", times)
    monkeypatch.setenv(SETTING, "measured")
    yield problems


def tensors(side: int = 32, channels: int = 8, kernel: int = 31, images: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(images, channels, side, side), torch.zeros(channels, 1, kernel, kernel)


def test_similar_sizes_are_one_problem(measured: list[kernel_choice.Problem]) -> None:
    weight = torch.zeros(96, 1, 31, 31)
    for height in range(96, 161, 8):
        for width in range(96, 161, 8):
            assert choose_forward(torch.zeros(1, 96, height, width), weight, SAME) is Algorithm.FOURIER
    assert {problem.side for problem in measured} == {91, 128, 181} and len(measured) == 3


def test_what_makes_a_problem(measured: list[kernel_choice.Problem]) -> None:
    x, weight = tensors()
    choose_forward(x, weight, SAME)
    choose_forward(x.contiguous(memory_format=torch.channels_last), weight, SAME)
    choose_forward(x.bfloat16(), weight.bfloat16(), SAME)
    choose_forward(*tensors(kernel=17), SAME)
    choose_forward(*tensors(side=64), SAME)
    choose_forward(x, weight, STRIDED)
    assert len(measured) == 6
    choose_forward(*tensors(kernel=13), SAME)  # by the rule
    assert len(measured) == 6
    choose_forward(*tensors(side=800, channels=20, images=2), SAME)
    assert measured[-1].side == 512 and measured[-1].channels == 16 and measured[-1].images == 1


def test_gradients_share_an_algorithm_where_that_is_faster(measured: list[kernel_choice.Problem]) -> None:
    x, weight = tensors()
    assert choose_gradients(x, weight, SAME, True, True) == (Algorithm.FOURIER, Algorithm.FOURIER)
    assert choose_gradients(x, weight, SAME, True, False) == (Algorithm.FOURIER, None)
    assert choose_gradients(x, weight, SAME, False, True) == (None, Algorithm.FOURIER)


def test_the_rule_stays_where_the_difference_is_noise(
    measured: list[kernel_choice.Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weight = tensors(side=16, kernel=17)
    assert kernel_choice.rule(Pass.FORWARD, x, weight, SAME) is Algorithm.CHANNELS_LAST
    for channels_last, chosen in ((1.1, Algorithm.CHANNELS_LAST), (1.5, Algorithm.FOURIER)):
        times = {Algorithm.FOURIER: 1.0, Algorithm.CHANNELS_LAST: channels_last}
        monkeypatch.setattr(kernel_choice, "measured_seconds", lambda problem, times=times: times)
        assert choose_forward(x, weight, SAME) is chosen


@pytest.mark.parametrize("setting", ["rule", "contiguous", "fourier", "deterministic"])
def test_a_fixed_choice_measures_nothing(
    setting: str, measured: list[kernel_choice.Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weight = tensors(side=64)
    if setting == "deterministic":
        monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    else:
        monkeypatch.setenv(SETTING, setting)
    expected = Algorithm.CONTIGUOUS if setting == "contiguous" else Algorithm.FOURIER
    assert choose_forward(x, weight, SAME) is expected
    assert choose_gradients(x, weight, SAME, True, True) == (expected, expected)
    assert choose_forward(x, weight, STRIDED) in possible(Pass.FORWARD, x, weight, STRIDED)
    assert not measured


def test_an_unknown_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "fastest")
    with pytest.raises(ValueError, match="measured, rule, contiguous, channels_last, correlation, fourier"):
        LargeKernelConv2d(3, 9)(torch.zeros(1, 3, 12, 12))


def test_measuring_times_every_candidate_and_leaves_the_generator_alone() -> None:
    state = torch.get_rng_state()
    for step in Pass:
        problem = kernel_choice._problem(step, *tensors(side=8, kernel=9), Geometry((1, 1), (4, 4), (1, 1)))
        seconds = kernel_choice.measured_seconds(problem)
        assert list(seconds) == list(candidates(step, *tensors(side=8, kernel=9), problem.geometry))
        assert all(0 < value < 60 for value in seconds.values())
        assert kernel_choice.measured_seconds(problem) is seconds
    assert torch.equal(torch.get_rng_state(), state)


def test_torchs_fallback_is_never_timed() -> None:
    for step in (Pass.FORWARD, Pass.INPUT_GRADIENT, Pass.WEIGHT_GRADIENT):
        assert Algorithm.CONTIGUOUS not in candidates(step, *tensors(kernel=31), SAME)
        assert Algorithm.CONTIGUOUS in possible(step, *tensors(kernel=31), SAME)
    assert Algorithm.CONTIGUOUS in candidates(Pass.INPUT_GRADIENT, *tensors(kernel=13), SAME)
    assert Algorithm.CONTIGUOUS in candidates(Pass.FORWARD, *tensors(kernel=9), SAME)
    # Something is left wherever FFT cannot be used.
    for step in (Pass.FORWARD, Pass.INPUT_GRADIENT, Pass.WEIGHT_GRADIENT):
        x, weight = tensors(kernel=31)
        assert kernel_choice.rule(step, x, weight, STRIDED) in candidates(step, x, weight, STRIDED)


@pytest.mark.parametrize("has_avx512", [True, False])
def test_the_rule_knows_what_a_processor_lacks(has_avx512: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_choice, "HAS_AVX512", has_avx512)
    monkeypatch.setitem(MAX_CONTIGUOUS_KERNEL, Pass.FORWARD, 13 if has_avx512 else 9)
    wide, small = (tensors(side=side, kernel=13) for side in (128, 32))
    padded = Geometry((1, 1), (6, 6), (1, 1))
    assert (kernel_choice.rule(Pass.FORWARD, *small, padded) is Algorithm.CONTIGUOUS) == has_avx512
    assert (kernel_choice.rule(Pass.WEIGHT_GRADIENT, *wide, padded) is Algorithm.CORRELATION) == has_avx512
    assert kernel_choice.rule(Pass.WEIGHT_GRADIENT, *small, padded) is Algorithm.CORRELATION
    assert (kernel_choice.rule(Pass.FORWARD, *tensors(), SAME) is Algorithm.FOURIER) != has_avx512


def test_other_devices_start_from_torchs_own() -> None:
    x, weight = (tensor.to("meta") for tensor in tensors(side=64))
    for step in (Pass.FORWARD, Pass.INPUT_GRADIENT, Pass.WEIGHT_GRADIENT):
        assert kernel_choice.rule(step, x, weight, SAME) is Algorithm.CONTIGUOUS

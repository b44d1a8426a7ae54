"""Under torch.compile the convolutions of the heads are operators of their own: few nodes, the same values."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, fx
from torch.library import opcheck

from densebench.heads import convolution, enlargement, winograd
from densebench.heads.convolution import convolve_joined


def random(*shape: int) -> Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))
    return values.requires_grad_()


@pytest.fixture
def always_lean(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in [name for name in vars(convolution) if name.startswith("MIN_")]:
        monkeypatch.setattr(convolution, limit, 1)


@pytest.mark.usefixtures("always_lean")
@pytest.mark.parametrize("align_corners", [False, True])
def test_compiled_equals_eager(align_corners: bool) -> None:
    full, small = random(2, 6, 70, 38), [random(2, 3, 35, 19), random(2, 4, 1, 1)]
    weight, bias = random(5, 13, 3, 3), random(5)
    inputs = [full, weight, bias, *small]
    nodes: list[fx.Node] = []

    def keep(graph: fx.GraphModule, examples: Sequence[Tensor]) -> Callable[..., Any]:
        nodes.extend(graph.graph.nodes)
        return graph

    torch.compiler.reset()
    compiled = torch.compile(convolve_joined, backend=keep, fullgraph=True)
    found, expected = (run(full, small, weight, bias, align_corners) for run in (compiled, convolve_joined))
    assert len(nodes) < 20
    torch.testing.assert_close(found, expected)
    gradient = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(found, inputs, gradient), torch.autograd.grad(expected, inputs, gradient), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.usefixtures("always_lean")
def test_other_numbers_of_images_are_compiled_once() -> None:
    compiled_times = []

    def count(graph: fx.GraphModule, examples: Sequence[Tensor]) -> Callable[..., Any]:
        compiled_times.append(1)
        return graph

    torch.compiler.reset()
    compiled = torch.compile(convolve_joined, backend=count, fullgraph=True)
    weight = random(5, 9, 3, 3).detach()
    for number in (2, 3, 4, 5, 6):
        compiled(random(number, 6, 8, 12).detach(), [random(number, 3, 4, 6).detach()], weight, None, False)
    assert len(compiled_times) == 2  # as it is, then for any number


def test_operators_say_what_they_return() -> None:
    full, weight = random(2, 6, 9, 14), random(5, 6, 3, 3)
    opcheck(winograd._convolved_operator, (full, weight))
    opcheck(winograd._weight_gradient_operator, (full.detach(), random(2, 5, 9, 14).detach()))
    maps, weight = [random(2, 3, 5, 7), random(2, 3, 1, 1)], random(5, 6, 3, 3)
    opcheck(enlargement._convolved_operator, (maps, weight, [9, 14], False))
    detached = [level.detach() for level in maps]
    opcheck(enlargement._gradients_operator, (random(2, 5, 9, 14).detach(), detached, weight.detach(), True))

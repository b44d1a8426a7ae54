"""Batch arithmetic and the learning rate, held against the papers' closed form."""

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS

from densebench.errors import DensebenchError
from densebench.schedule import BatchPlan, param_scheduler, plan_batch

SCHEDULE = {"iterations": 200, "warmup": {"iterations": 30, "ratio": 1e-6}, "poly": {"power": 1.0, "min_lr": 0.0}}


def rates(accumulation: int) -> list[float]:
    """The factor on the base rate at every iteration, from mmengine's own schedulers."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    wrapper = OptimWrapper(torch.optim.SGD([parameter], lr=1.0))
    schedulers = [
        PARAM_SCHEDULERS.build(config, default_args={"optimizer": wrapper})
        for config in param_scheduler(SCHEDULE, accumulation)
    ]
    wrapper.step()
    found = []
    for _ in range(SCHEDULE["iterations"] * accumulation):
        found.append(wrapper.param_groups[0]["lr"])
        for scheduler in schedulers:
            scheduler.step()
    return found


def papers_rate(step: float) -> float:
    """mmcv 0.x: the polynomial from step 0 on, times a linear warm-up."""
    warm = min(1.0, 1 - (1 - step / 30) * (1 - 1e-6))
    return (1 - step / 200) * warm


@pytest.mark.parametrize("accumulation", [1, 4])
def test_rate_is_the_papers(accumulation: int) -> None:
    expected = [papers_rate(iteration / accumulation) for iteration in range(200 * accumulation)]
    assert rates(accumulation) == pytest.approx(expected, abs=1e-9, rel=1e-6)


def test_no_warmup_leaves_the_polynomial() -> None:
    schedule = {**SCHEDULE, "warmup": {"iterations": 0, "ratio": 1.0}}
    assert [scheduler["type"] for scheduler in param_scheduler(schedule)] == ["PolyLR"]


@pytest.mark.parametrize(
    ("world_size", "images", "expected"),
    [
        (1, None, BatchPlan(16, 1, 16, 1)),
        (8, None, BatchPlan(16, 8, 2, 1)),
        (1, 2, BatchPlan(16, 1, 2, 8)),
        (4, 2, BatchPlan(16, 4, 2, 2)),
    ],
)
def test_batch_makes_up_the_total(world_size: int, images: int | None, expected: BatchPlan) -> None:
    plan = plan_batch(16, world_size, images)
    assert plan == expected
    assert plan.images_per_gpu * plan.world_size * plan.accumulation == plan.total_batch


def test_a_total_that_does_not_divide_names_those_that_do() -> None:
    with pytest.raises(DensebenchError, match=r"16 does not divide among 3 processes of 2 images.*12 or 18"):
        plan_batch(16, 3, 2)
    with pytest.raises(DensebenchError, match="at least 1 image"):
        plan_batch(16, 1, 0)

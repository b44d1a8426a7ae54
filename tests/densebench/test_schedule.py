"""Batch arithmetic and the learning rate, held against the papers' closed form."""

from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS

from densebench.errors import DensebenchError
from densebench.schedule import BatchPlan, describe, param_scheduler, plan_batch, train_loop

SCHEDULE = {"iterations": 200, "warmup": {"iterations": 30, "ratio": 1e-6}, "poly": {"power": 1.0, "min_lr": 0.0}}


# mmsegmentation's SGD schedule.
SGD_SCHEDULE = {"iterations": 200, "warmup": {"iterations": 0, "ratio": 1.0}, "poly": {"power": 0.9, "min_lr": 1e-4}}


def rates(accumulation: int, schedule: dict[str, Any] = SCHEDULE, base: float = 1.0) -> list[float]:
    """The rate at every iteration, from mmengine's own schedulers."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    wrapper = OptimWrapper(torch.optim.SGD([parameter], lr=base))
    schedulers = [
        PARAM_SCHEDULERS.build(config, default_args={"optimizer": wrapper})
        for config in param_scheduler(schedule, accumulation)
    ]
    wrapper.step()
    found = []
    for _ in range(schedule["iterations"] * accumulation):
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


@pytest.mark.parametrize("accumulation", [1, 4])
@pytest.mark.parametrize("warmup_steps", [0, 2])  # a warm-up from ratio 1, as --mini makes of none, changes nothing
def test_rate_of_a_polynomial_with_a_floor_is_mmcv0s(accumulation: int, warmup_steps: int) -> None:
    schedule = {**SGD_SCHEDULE, "warmup": {"iterations": warmup_steps, "ratio": 1.0}}
    steps = [iteration / accumulation for iteration in range(200 * accumulation)]
    expected = [(0.01 - 1e-4) * (1 - step / 200) ** 0.9 + 1e-4 for step in steps]
    assert rates(accumulation, schedule, base=0.01) == pytest.approx(expected, abs=1e-12, rel=1e-9)


STEP_SCHEDULE = {"epochs": 12, "warmup": {"iterations": 30, "ratio": 0.001}, "steps": {"at": (8, 11), "factor": 0.1}}


@pytest.mark.parametrize("accumulation", [1, 4])
def test_rate_in_epochs_is_mmcv0s(accumulation: int) -> None:
    """mmcv 0.x: a tenth after each of the steps, times the warm-up by iterations."""
    wrapper = OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0))
    schedulers = [
        PARAM_SCHEDULERS.build(config, default_args={"optimizer": wrapper})
        for config in param_scheduler(STEP_SCHEDULE, accumulation)
    ]
    wrapper.step()
    per_epoch = 7 * accumulation
    for iteration in range(12 * per_epoch):
        epoch, step = iteration // per_epoch, iteration / accumulation
        warm = 1 - max(0.0, 1 - step / 30) * (1 - 0.001)
        expected = 0.1 ** sum(epoch >= moment for moment in (8, 11)) * warm
        assert wrapper.param_groups[0]["lr"] == pytest.approx(expected, rel=1e-6), iteration
        for scheduler in schedulers:
            if not scheduler.by_epoch or (iteration + 1) % per_epoch == 0:
                scheduler.step()


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_constant_warmup_keeps_its_rate(accumulation: int) -> None:
    """mmcv 0.x and FCOS: a third of the rate for all of the warm-up, then the whole."""
    warmup = {"kind": "constant", "iterations": 30, "ratio": 1 / 3}
    schedule = {"iterations": 60, "warmup": warmup, "steps": {"at": (40, 50), "factor": 0.1}}
    step = accumulation
    expected = [1 / 3] * 30 * step + [1.0] * 10 * step + [0.1] * 10 * step + [0.01] * 10 * step
    assert rates(accumulation, schedule) == pytest.approx(expected)
    assert "warm-up 30 at ratio 0.333333" in describe(schedule)


def test_steps_in_iterations() -> None:
    schedule = {**STEP_SCHEDULE, "iterations": 200, "steps": {"at": (100, 150), "factor": 0.1}}
    del schedule["epochs"]
    found = rates(2, schedule)
    assert [found[iteration] for iteration in (199, 200, 299, 300)] == pytest.approx([1.0, 0.1, 0.1, 0.01])


def test_the_loop_follows_the_unit_of_the_schedule() -> None:
    assert train_loop(STEP_SCHEDULE, 1, 4) == {"type": "EpochBasedTrainLoop", "max_epochs": 12, "val_interval": 1}
    assert train_loop(SCHEDULE, 500, 4) == {"type": "IterBasedTrainLoop", "max_iters": 800, "val_interval": 800}
    assert describe(STEP_SCHEDULE) == "12 epochs, warm-up 30 from ratio 0.001, times 0.1 at epoch 8, 11"
    assert describe(SCHEDULE) == "200 steps, warm-up 30 from ratio 1e-06, then power 1 down to 0"


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
    with pytest.raises(DensebenchError, match=r"16 does not divide among 3 processes of 2 images.*18 or 12"):
        plan_batch(16, 3, 2)
    with pytest.raises(DensebenchError, match="at least 1 image"):
        plan_batch(16, 1, 0)


@pytest.mark.parametrize(("total", "nearest"), [(17, "16 or 24"), (23, "24 or 16"), (5, "8")])
def test_totals_that_divide_come_nearest_first(total: int, nearest: str) -> None:
    with pytest.raises(DensebenchError, match=f"nearest first: {nearest}\\."):
        plan_batch(total, 8)

"""The parts of a run's time, on a clock that the test moves."""

from types import SimpleNamespace

import pytest

from densebench.engine import time_share
from densebench.engine.time_share import TimeShareHook


class Clock:
    """Stands still but where it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now

    def taking(self, seconds: float):  # type: ignore[no-untyped-def]
        """A call that takes so long, and gives its argument back."""

        def call(value: object = None) -> object:
            self.now += seconds
            return value

        return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time_share, "time", clock)
    # The model's time on a GPU is the GPU's own, which no test clock moves.
    monkeypatch.setattr(time_share.torch.cuda, "is_available", lambda: False)
    return clock


def test_a_test_is_model_data_evaluation_and_the_rest(clock: Clock) -> None:
    hook = TimeShareHook()
    clock.now += 5  # to start
    runner = SimpleNamespace(
        model=SimpleNamespace(test_step=clock.taking(6)),
        test_evaluator=SimpleNamespace(process=clock.taking(1), evaluate=clock.taking(2)),
    )
    hook.before_test(runner)
    for index in range(2):
        clock.now += 0.5  # loading
        hook.before_test_iter(runner, index)
        assert runner.model.test_step("image") == "image"
        runner.test_evaluator.process()
        clock.now += 0.25  # other hooks
        hook.after_test_iter(runner, index)
    runner.test_evaluator.evaluate()
    hook.after_test(runner)
    clock.now += 0.5  # after the loop
    spent = hook.spent()
    assert spent.start_s == 5 and spent.run_s == 18
    assert dict(spent.parts_s) == {"model": 12, "data": 1, "evaluation": 4, "other": 1}
    assert sum(spent.shares().values()) == pytest.approx(100)
    assert spent.line().startswith("Time: 5.0 s to start, then 18.0 s: model 66.7 %, evaluation 22.2 %, ")


def test_a_training_is_steps_data_validation_checkpoints_and_the_rest(clock: Clock) -> None:
    hook = TimeShareHook()
    runner = SimpleNamespace(model=SimpleNamespace(train_step=clock.taking(8)), save_checkpoint=clock.taking(1))
    hook.before_train(runner)
    for index in range(2):
        clock.now += 0.5
        hook.before_train_iter(runner, index)
        runner.model.train_step()
        clock.now += 0.25
        runner.save_checkpoint()
        hook.after_train_iter(runner, index)
    hook.before_val(runner)
    clock.now += 3
    hook.after_val(runner)
    hook.after_train(runner)
    spent = hook.spent()
    assert dict(spent.parts_s) == {"model": 16, "data": 1, "validation": 3, "checkpoints": 2, "other": 0.5}
    assert spent.shares()["model"] == pytest.approx(100 * 16 / 22.5)


def test_a_step_that_fails_ends_its_part(clock: Clock) -> None:
    def fail() -> None:
        clock.now += 2
        raise RuntimeError("no memory")

    hook = TimeShareHook()
    runner = SimpleNamespace(model=SimpleNamespace(train_step=fail), save_checkpoint=clock.taking(1))
    hook.before_train(runner)
    with pytest.raises(RuntimeError, match="no memory"):
        runner.model.train_step()
    runner.save_checkpoint()
    assert dict(hook.spent().parts_s) == {"model": 2, "data": 0, "checkpoints": 1}

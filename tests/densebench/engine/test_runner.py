"""The runner's own name, on which mmengine hangs scope, log and messages."""

import json
import sys
import warnings
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import LOOPS, MODELS, DefaultScope
from mmengine.runner import IterBasedTrainLoop, Runner
from mmseg.visualization import SegLocalVisualizer
from torch import Tensor

import densebench.registration_detection  # noqa: F401
from densebench.engine.runner import SafeRunner, ScalarVisualizer
from densebench.errors import DensebenchError


@MODELS.register_module()
class OneNumber(BaseModel):
    """A model without data."""

    def __init__(self) -> None:
        super().__init__()
        self.number = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs: Tensor, data_samples: object = None, mode: str = "tensor") -> Tensor:
        return self.number


def test_runs_of_one_second_keep_to_their_own_scopes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Runner, "timestamp", property(lambda self: "20260101_000000"))
    monkeypatch.setattr("time.strftime", lambda *_: "20260101_000000")
    config = {"model": {"type": "OneNumber"}, "work_dir": str(tmp_path), "cfg": {}}
    for scope in ("mmseg", "mmdet"):
        SafeRunner.from_cfg(Config({**config, "default_scope": scope}))
        current = DefaultScope.get_current_instance()
        assert current is not None and current.scope_name == scope


@pytest.mark.parametrize(("hooks", "draws"), [([], False), ([{"type": "SegVisualizationHook"}], True)])
def test_a_run_that_draws_nothing_makes_no_figure(tmp_path: Path, hooks: list[dict[str, str]], draws: bool) -> None:
    backend = {"type": "LocalVisBackend"}
    visualizer = {"type": "SegLocalVisualizer", "vis_backends": [backend], "name": f"visualizer_{draws}"}
    config = {"model": {"type": "OneNumber"}, "work_dir": str(tmp_path), "default_scope": "mmseg"}
    runner = SafeRunner.from_cfg(Config({**config, "visualizer": visualizer, "custom_hooks": hooks}))
    assert isinstance(runner.visualizer, SegLocalVisualizer) is draws
    assert isinstance(runner.visualizer, ScalarVisualizer) is not draws
    runner.visualizer.add_scalar("loss", 0.5, step=1)
    (scalars,) = tmp_path.rglob("scalars.json")
    assert json.loads(scalars.read_text()) == {"loss": 0.5, "step": 1}


@LOOPS.register_module()
class NoisyLoop(IterBasedTrainLoop):
    """Says what is wrong before it fails."""

    def __init__(self, **_: object) -> None:
        print("file 7 is broken")
        warnings.warn("12 images have no labels", stacklevel=2)
        raise ValueError("bad data")


def test_what_a_loop_says_while_it_is_built_is_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"model": {"type": "OneNumber"}, "work_dir": str(tmp_path), "default_scope": "mmseg"}
    runner = SafeRunner.from_cfg(Config(config))
    # pytest collects warnings; a program prints them.
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_: print(message, file=sys.stderr))
    with pytest.raises(DensebenchError, match=r"The training loop cannot be built: bad data"):
        runner.build_train_loop({"type": "NoisyLoop"})
    (log,) = tmp_path.rglob("*.log")
    assert "file 7 is broken" in log.read_text() and "12 images have no labels" in log.read_text()

"""Accuracy in training: mmseg's value, in those iterations alone whose values are logged."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.models.decode_heads import DepthwiseSeparableASPPHead, FCNHead, UPerHead
from mmseg.models.losses import accuracy as their_accuracy
from mmseg.structures import SegDataSample
from torch import Tensor

import densebench.registration  # noqa: F401
from densebench.description import CONFIG_FOLDER, read_description
from densebench.engine.training import train
from densebench.heads import segmentation_loss
from densebench.heads.aspp_head import LeanSeparableASPPHead
from densebench.heads.fcn_head import LeanFCNHead
from densebench.heads.segmentation_loss import accuracy
from densebench.heads.uper_head import LeanUPerHead
from densebench.recipe import RunOptions
from densebench.tasks.segmentation import SEGMENTATION

COMMON = {"channels": 8, "num_classes": 5, "norm_cfg": {"type": "BN"}, "dropout_ratio": 0.0}
MANY = {"in_channels": [4, 4, 4], "in_index": [0, 1, 2], **COMMON}
ONE = {"in_channels": 4, "in_index": 2, **COMMON}
PAIRS = [
    (LeanUPerHead, UPerHead, MANY),
    (LeanFCNHead, FCNHead, {"num_convs": 1, "concat_input": False, **ONE}),
    (LeanSeparableASPPHead, DepthwiseSeparableASPPHead, {"c1_in_channels": 4, "c1_channels": 3, **ONE}),
]


def batch(ignored: float = 0.3) -> tuple[list[Tensor], list[SegDataSample]]:
    generator = torch.Generator().manual_seed(0)
    levels = [torch.randn(2, 4, side, side, generator=generator) for side in (16, 8, 4)]
    samples = []
    for _ in range(2):
        labels = torch.randint(0, 5, (1, 64, 64), generator=generator)
        labels[torch.rand(1, 64, 64, generator=generator) < ignored] = 255
        sample = SegDataSample()
        sample.gt_sem_seg = PixelData(data=labels)
        samples.append(sample)
    return levels, samples


@pytest.mark.parametrize(("ours", "theirs", "settings"), PAIRS)
@pytest.mark.parametrize("losses", [1, 2])
@pytest.mark.parametrize("sampler", [None, {"type": "OHEMPixelSampler", "thresh": 0.7, "min_kept": 100}])
def test_losses_are_mmsegs(
    ours: type, theirs: type, settings: dict[str, Any], losses: int, sampler: dict[str, Any] | None
) -> None:
    loss = {"type": "CrossEntropyLoss", "loss_weight": 0.4}
    settings = {**settings, "sampler": sampler, "loss_decode": [loss] * losses if losses > 1 else loss}
    expected_head, head = theirs(**settings), ours(**settings)
    head.load_state_dict(expected_head.state_dict())
    levels, samples = batch()
    expected, found = (h.eval().loss(levels, samples, {}) for h in (expected_head, head))
    assert found.keys() == expected.keys() == {"loss_ce", "acc_seg"}
    assert found["loss_ce"].requires_grad and not found["acc_seg"].requires_grad
    torch.testing.assert_close(found["loss_ce"], expected["loss_ce"], rtol=1e-5, atol=0)
    torch.testing.assert_close(found["acc_seg"], expected["acc_seg"], rtol=0, atol=100 / (2 * 64 * 64))
    head.computes_accuracy = False
    assert head.loss(levels, samples, {}).keys() == {"loss_ce"}


@pytest.mark.parametrize("ignored", [0.0, 0.4, 1.0])
def test_accuracy_is_mmsegs_to_the_last_bit(ignored: float) -> None:
    _, samples = batch(ignored)
    labels = torch.cat([sample.gt_sem_seg.data for sample in samples])
    scores = torch.randn(2, 5, 64, 64, generator=torch.Generator().manual_seed(1))
    found, expected = accuracy(scores, labels, 255), their_accuracy(scores, labels, ignore_index=255)
    assert found.shape == expected.shape and torch.equal(found, expected)


def test_all_recipes_of_segmentation_leave_it_out() -> None:
    assert {"type": "LoggedAccuracyHook"} in SEGMENTATION.hooks
    files = (*CONFIG_FOLDER.glob("*.py"), *CONFIG_FOLDER.glob("demo/*.py"))
    recipes = [path for path in files if path.stem.startswith(SEGMENTATION.methods)]
    assert len(recipes) > 20
    for path in recipes:
        model = read_description(path)["model"]
        assert model["decode_head"]["type"] in ("LeanUPerHead", "LeanSeparableASPPHead"), path
        assert model["auxiliary_head"]["type"] == "LeanFCNHead", path


def logged(work_dir: Path) -> dict[int, tuple[str, ...]]:
    """The accuracies in the log file's lines of the training, by iteration."""
    log = next(work_dir.rglob("*.log")).read_text()
    lines = re.findall(r"Iter\(train\) +\[(\d+)/\d+\].*decode\.acc_seg: ([\d.]+).*aux\.acc_seg: ([\d.]+)", log)
    return {int(iteration): tuple(values) for iteration, *values in lines}


def test_a_run_computes_it_when_it_logs_it(tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accumulated and under a plain Runner, against a run in which every iteration computes it."""
    options = RunOptions(
        str(tiny_recipe),
        mini=True,
        seed=1,
        images_per_gpu=2,
        work_dir=str(tmp_path / "ours"),
        cfg_options={"total_batch": 4, "default_hooks.logger.interval": 3},
    )
    calls = []

    def counted(*arguments: Any) -> Tensor:
        calls.append(1)
        return accuracy(*arguments)

    monkeypatch.setattr(segmentation_loss, "accuracy", counted)
    train(options)
    assert len(calls) == 2 * 2  # iterations 3 and 6 of 3 x 2, two heads

    config = Config.fromfile(tmp_path / "ours" / "config.py")
    config.custom_hooks = [hook for hook in config.custom_hooks if hook["type"] != "LoggedAccuracyHook"]
    config.work_dir, config.experiment_name = str(tmp_path / "always"), "always"
    Runner.from_cfg(config).train()
    assert len(calls) == 4 + 6 * 2
    assert logged(tmp_path / "ours").keys() == {3, 6}
    assert logged(tmp_path / "ours") == logged(tmp_path / "always")

"""The change that low precision makes: told in a test, small in trained models of both tasks."""

import re
from pathlib import Path

import pytest

from densebench.data import mini
from densebench.engine.training import train
from densebench.evaluation.precision_change import change_line
from densebench.evaluation.testing import test as run_test
from densebench.recipe import RunOptions
from densebench.results.records import read_records


@pytest.fixture(scope="module")
def tested(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work dir of a short training."""
    work_dir = tmp_path_factory.mktemp("tested")
    train(RunOptions(str(tiny_recipe), mini=True, mini_iters=1, work_dir=str(work_dir)))
    return work_dir


def test_a_test_tells_the_change(tested: Path, tiny_recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(amp: bool) -> tuple[dict[str, float], Path, str]:
        options = RunOptions(str(tiny_recipe), mini=True, work_dir=str(tested), amp=amp)
        result = run_test(options, None, multi_scale=False, command=[])
        return result.metrics, result.record, capsys.readouterr().out

    _, _, text = run(amp=True)
    assert "Change against float32: not known" in text
    exact, record, text = run(amp=False)
    assert "Change against" not in text and change_line(record, ("mIoU",)) is None
    low, _, text = run(amp=True)
    told = re.search(rf"Change against float32 \({record.name}\): mIoU ([+-]\d+\.\d+), mAcc", text)
    assert told is not None and float(told[1]) == pytest.approx(low["mIoU"] - exact["mIoU"], abs=5e-4)
    assert len(read_records([tested])[0]) == 3


@pytest.mark.slow
def test_a_trained_segmentor_keeps_its_miou(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini, "NUM_IMAGES", {"train": 64, "val": 8})
    data_root = mini.make("ade20k", tmp_path / "data")
    name = "demo/upernet_convnextv2_atto_ade20k.py"
    options = {"mini": True, "mini_iters": 60, "seed": 0, "work_dir": str(tmp_path), "data_root": str(data_root)}
    train(RunOptions(f"configs/{name}", **options))
    found = [
        run_test(RunOptions(f"configs/{name}", **options, amp=amp), None, multi_scale=False, command=[]).metrics["mIoU"]
        for amp in (False, True)
    ]
    # After 100 iterations, on 24 images, 13.3 and a change of 0.01 were measured.
    assert found[0] > 8 and abs(found[1] - found[0]) < 0.3

"""From a command line to the options of a run."""

import argparse
import os
import sys

import pytest

from densebench import cli
from densebench.errors import DensebenchError
from densebench.recipe import RunOptions
from tests.running import ROOT, run_command


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cli.add_recipe_options(parser)
    cli.add_run_options(parser)
    return parser.parse_args(words)


def test_every_option_reaches_the_run() -> None:
    words = ["c", "--backbone", "b", "--data-root", "d", "--mini", "--work-dir", "w", "--amp", "--allow-partial"]
    options = cli.run_options(parsed(*words, "--cfg-options", "total_batch=4"), pretrained="none")
    expected = RunOptions("c", "b", "none", True, "d", True, None, "w", True, cfg_options={"total_batch": 4})
    assert options == expected


def test_an_override_without_a_value() -> None:
    with pytest.raises(DensebenchError, match="key=value pairs, found 'total_batch'"):
        cli.run_options(parsed("c", "--cfg-options", "total_batch"))


@pytest.mark.parametrize(
    ("given", "policy"), [({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active"), ({"GOMP_SPINCOUNT": "9"}, None)]
)
def test_threads_wait_passively_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], policy: str | None
) -> None:
    # Set and deleted again, so that what the tool sets is undone as well.
    for name in cli.WAITING:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["tool"])
    found = []
    cli.run(argparse.ArgumentParser(), lambda arguments: found.append(os.environ.get("OMP_WAIT_POLICY")))
    assert found == [policy]


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "tools").glob("*.py")))
def test_help_waits_for_no_toolbox(name: str) -> None:
    tool = str(ROOT / "tools" / f"{name}.py")
    program = f"""
import runpy, sys
sys.argv = [{tool!r}, "--help"]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    assert end.code == 0
heavy = {{"torch", "numpy", "mmengine", "mmcv", "timm"}} & set(sys.modules)
assert not heavy, heavy
"""
    result = run_command([sys.executable, "-c", program])
    assert result.returncode == 0, result.stderr
    assert f"tools/{name}.py" in result.stdout

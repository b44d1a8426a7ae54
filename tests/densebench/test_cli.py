"""From a command line to the options of a run."""

import argparse
import os

import pytest

from densebench import cli
from densebench.errors import DensebenchError
from densebench.recipe import RunOptions


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

import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import run_tool

ROOT = Path(__file__).parents[3]


def leaderboard(*arguments):
    return run_tool("leaderboard", *arguments, cwd=ROOT)


def test_prints_the_table_and_where_the_page_is(save, tmp_path):
    save()
    run = leaderboard(tmp_path / "work_dirs", "--out", tmp_path / "out")
    assert run.returncode == 0, run.stderr
    assert "| measured | convnext_t" in run.stdout
    assert f"Wrote {tmp_path / 'out' / 'index.html'}" in run.stdout


def test_nothing_found_is_one_message(tmp_path):
    run = leaderboard(tmp_path, "--out", tmp_path / "out")
    assert run.returncode == 1
    assert "Traceback" not in run.stderr + run.stdout
    assert str(tmp_path) in run.stderr


@pytest.mark.parametrize("arguments", [["--format", "docx"], ["--format", ""], ["--compare", "a"]])
def test_usage_errors(arguments):
    assert leaderboard(*arguments).returncode == 2


def test_torch_is_not_imported():
    code = "import sys, densebench.leaderboard.write; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0

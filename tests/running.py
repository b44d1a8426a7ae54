"""The tools as a user starts them, from tests."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Most of a tool's seconds on a miniature are imports, which one process per test session does for all of them.
IMPORTED = ("densebench.registration_detection", "densebench.engine.training", "densebench.evaluation.testing")

Result = subprocess.CompletedProcess[str]


def run_tool(name: str, *arguments: object, fresh: bool = False, **settings: Any) -> Result:
    """Run tools/NAME.py in a process of its own: a fork of one that has imported torch and the toolboxes.

    Args:
        name: of the tool, without `.py`.
        arguments: of its command line.
        fresh: start a new interpreter instead, which imports what the tool imports, and nothing else.
        settings: `cwd`, and `before`, a function (of a module) called in the process before the tool.
    """
    command = [str(ROOT / "tools" / f"{name}.py"), *map(str, arguments)]
    if fresh:
        return run_command([sys.executable, *command], settings.get("cwd"))
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / stream for stream in ("stdout", "stderr")]
        process = context.Process(target=_become_tool, args=(command, outputs, dict(os.environ)), kwargs=settings)
        process.start()
        process.join()
        return subprocess.CompletedProcess(command, process.exitcode, *(path.read_text() for path in outputs))


def run_command(command: list[str], cwd: Path | None = None) -> Result:
    """Run another program."""
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def fails(result: Result, *parts: str) -> None:
    """Assert that the tool refused, with one message that has all of these parts."""
    assert result.returncode == 1, (result.stdout, result.stderr)
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr


def _become_tool(
    command: list[str],
    outputs: list[Path],
    environment: dict[str, str],
    cwd: Path | None = None,
    before: Callable[[], None] | None = None,
) -> None:
    for descriptor, path in zip((1, 2), outputs, strict=True):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd or Path.cwd())
    if before is not None:
        before()
    sys.argv = command
    sys.path.insert(0, str(Path(command[0]).parent))  # as for a script
    runpy.run_path(command[0], run_name="__main__")

"""What the command-line programs share: options, and how a failure is told."""

from __future__ import annotations

import argparse
import dataclasses
import errno
import logging
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from densebench import lazy_packages
from densebench.errors import DensebenchError, original_text

# Wherever a run writes, and it writes in many places: no space, no quota, a file larger than allowed.
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# How OpenMP's threads wait for each other is read when torch is imported, which `main` does. By default they spin,
# between the many short products of a test as well, and take the processor from loaders and from other programs.
WAITING = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}

if TYPE_CHECKING:
    from densebench.recipe import RunOptions


def run(parser: argparse.ArgumentParser, main: Callable[[argparse.Namespace], None]) -> None:
    """Parse, run, and exit: 0 on success, 1 after a reported failure, 2 on a usage error (argparse)."""
    parser.add_argument("--debug", action="store_true", help="show the traceback of a failure")
    arguments = parser.parse_args()
    if not WAITING.intersection(os.environ):
        os.environ["OMP_WAIT_POLICY"] = "passive"
    lazy_packages.install()
    try:
        main(arguments)
    except DensebenchError as error:
        if arguments.debug:
            raise
        print(f"{parser.prog}: {original_text(error)}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if arguments.debug or error.errno not in FULL_DISK:
            raise
        where = f" at {error.filename}" if error.filename else ""
        print(f"{parser.prog}: {error.strerror}{where}; make room and start again.", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        sys.exit(130)
    if os.environ.get("WORLD_SIZE", "1") != "1":
        _leave_at_once()


def _leave_at_once() -> None:
    """End one of several processes that have written all and parted.

    Threads of torch's communication may still abort a process while the interpreter is taken down, and torchrun then
    reports a failed run.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def positive(text: str) -> int:
    """A whole number from 1, as an option's type; anything else is a usage error."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {text!r}")
    return int(text)


def seed(text: str) -> int:
    """A seed that numpy takes, as an option's type; anything else is a usage error."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to {2**32 - 1}, found {text!r}")
    return int(text)


def add_recipe_options(parser: argparse.ArgumentParser) -> None:
    """Options that name a recipe and change it."""
    parser.add_argument("config", metavar="CONFIG", help="a config file, or the bare name of one in configs/")
    parser.add_argument(
        "--backbone", metavar="NAME", help="a registered backbone or timm/NAME, in place of the config's"
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        default=[],
        metavar="K=V",
        help="overrides, as optim_wrapper.optimizer.lr=2e-4 or schedule.iterations=80000",
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Options of a run over data."""
    parser.add_argument("--data-root", metavar="D", help="where the data set lies")
    parser.add_argument("--mini", action="store_true", help="the same model on a generated miniature, small and short")
    parser.add_argument("--work-dir", metavar="D", help="default: work_dirs/<experiment>")
    parser.add_argument("--amp", action="store_true", help="mixed precision: fp16 training on CUDA, else bfloat16")
    parser.add_argument("--allow-partial", action="store_true", help="accept weights that fill the model in part")
    parser.add_argument("--launcher", choices=("none", "pytorch", "slurm"), default="none", help="how processes start")


def run_options(arguments: argparse.Namespace, **fixed: Any) -> RunOptions:
    """The run that a command line of recipe and run options asks for.

    Args:
        fixed: fields of `RunOptions` that the program states, whatever its user says.

    Raises:
        DensebenchError: see `cfg_options`.
    """
    from densebench.recipe import RunOptions

    names = {field.name for field in dataclasses.fields(RunOptions)}
    given = {name: value for name, value in vars(arguments).items() if name in names}
    return RunOptions(**{**given, "cfg_options": cfg_options(arguments.cfg_options), **fixed})


def cfg_options(pairs: list[str]) -> dict[str, Any]:
    """`key=value` pairs as mmengine reads them (numbers, lists, tuples, None, booleans).

    Raises:
        DensebenchError: a pair without `=`.
    """
    from mmengine.config import DictAction

    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise DensebenchError(f"--cfg-options takes key=value pairs, found '{pair}'.")
        options[key] = DictAction._parse_iterable(value)
    return options

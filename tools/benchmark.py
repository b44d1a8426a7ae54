"""Measure what a recipe's model costs: parameters, multiply-adds, latency and memory, without data or weights.

Reads a config; prints a table, and writes a record to <work dir>/records/ and, with --json, a copy of it to FILE.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from densebench import cli
from densebench.cost import MEASUREMENTS


def build_parser() -> argparse.ArgumentParser:
    """The command line, as the contract has it."""
    parser = argparse.ArgumentParser(prog="tools/benchmark.py", description=__doc__)
    add = parser.add_argument
    cli.add_recipe_options(parser)
    add("--mini", action="store_true", help="at the test size of the recipe's miniature")
    add("--work-dir", metavar="D", help="default: work_dirs/<experiment>")
    add("--shape", nargs=2, type=cli.positive, metavar=("W", "H"), help="default: the size of the published costs")
    add("--device", choices=("cpu", "cuda"), help="for latency and memory (default: cuda where there is one)")
    add("--only", type=measurements, default=MEASUREMENTS, metavar="M,...", help=f"of {','.join(MEASUREMENTS)}")
    add("--batch-size", type=cli.positive, metavar="N", help="of latency and memory (default: 1, of training 2)")
    add("--amp", action="store_true", help="mixed precision: fp16 on CUDA, else bfloat16")
    add("--channels-last", action="store_true", help="weights and inputs in the order N, H, W, C")
    add("--compile", action="store_true", help="torch.compile the parts whose inputs keep their shapes")
    add("--aug-test", action="store_true", help="time the recipe's whole multi-scale pass as well")
    add("--grid", action="store_true", help="latency of every dtype x layout x compiled or not (ten minutes at most)")
    add("--estimate", action="store_true", help="predict the memory of a training step on a GPU; measure nothing")
    add("--no-merge", action="store_true", help="keep re-parameterized kernels apart, as trained")
    add("--json", type=Path, metavar="FILE", help="write the record here as well")
    return parser


def measurements(text: str) -> tuple[str, ...]:
    """The measurements named in `params,flops`; a name that is none is a usage error."""
    names = tuple(name.strip() for name in text.split(","))
    if unknown := [name for name in names if name not in MEASUREMENTS]:
        raise argparse.ArgumentTypeError(
            f"unknown measurement {unknown[0]!r}, expected some of {','.join(MEASUREMENTS)}"
        )
    return names


def main(arguments: argparse.Namespace) -> None:
    """Measures, prints and writes; every field of `build_parser` is read."""
    from densebench.allocator import keep_freed_memory
    from densebench.cost.benchmark import benchmark
    from densebench.cost.measure import CostSettings

    keep_freed_memory()
    settings = CostSettings(
        only=arguments.only,
        shape=tuple(arguments.shape) if arguments.shape else None,
        batch_size=arguments.batch_size,
        device=arguments.device,
        amp=arguments.amp,
        channels_last=arguments.channels_last,
        compile=arguments.compile,
        multi_scale=arguments.aug_test,
        estimate=arguments.estimate,
        merge=not arguments.no_merge,
    )
    options = cli.run_options(arguments, amp=False)  # of training; the measurement has its own
    benchmark(options, settings, sys.argv, arguments.json, with_grid=arguments.grid)


if __name__ == "__main__":
    cli.run(build_parser(), main)

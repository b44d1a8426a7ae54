"""Test a checkpoint by its recipe's protocol: reads config, checkpoint and data, writes a record to the work dir."""

import argparse
import sys
from pathlib import Path

from densebench import cli


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tools/test.py", description=__doc__)
    cli.add_recipe_options(parser)
    cli.add_run_options(parser)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", nargs="?", help="default: the newest one in the work dir")
    parser.add_argument("--aug-test", action="store_true", help="the multi-scale and flip protocol (test_ms)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="PATH",
        help="folder for the predictions as evaluation servers take them: label pictures, or bbox.json and segm.json",
    )
    parser.add_argument(
        "--show-dir",
        type=Path,
        metavar="D",
        help="folder for pictures: labels left and prediction right, or boxes and masks that score 0.3 or more",
    )
    parser.add_argument("--max-memory", type=float, metavar="GB", help="of merging the views of a large image")
    parser.add_argument("--no-merge", action="store_true", help="keep re-parameterized kernels apart, as trained")
    return parser


def main(arguments: argparse.Namespace) -> None:
    from densebench.allocator import keep_freed_memory
    from densebench.engine.distributed import process_group
    from densebench.evaluation.testing import test

    keep_freed_memory()
    with process_group(arguments.launcher) as launcher:
        test(
            cli.run_options(arguments, pretrained="none"),
            arguments.checkpoint,
            multi_scale=arguments.aug_test,
            command=sys.argv,
            out_dir=arguments.out,
            show_dir=arguments.show_dir,
            merge=not arguments.no_merge,
            max_memory_gb=arguments.max_memory,
            launcher=launcher,
        )


if __name__ == "__main__":
    cli.run(build_parser(), main)

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
    parser.add_argument("--out", type=Path, metavar="PATH", help="folder for the predicted label pictures")
    parser.add_argument("--show-dir", type=Path, metavar="D", help="folder for overlays: labels left, prediction right")
    parser.add_argument("--max-memory", type=float, metavar="GB", help="of merging the views of a large image")
    parser.add_argument("--no-merge", action="store_true", help="keep re-parameterized kernels apart, as trained")
    return parser


def main(arguments: argparse.Namespace) -> None:
    from densebench.evaluation.testing import test
    from densebench.recipe import RunOptions

    cli.world_size(arguments.launcher)  # says at once where the launcher's variables are missing
    options = RunOptions(
        config=arguments.config,
        backbone=arguments.backbone,
        pretrained="none",
        allow_partial=arguments.allow_partial,
        data_root=arguments.data_root,
        mini=arguments.mini,
        work_dir=arguments.work_dir,
        amp=arguments.amp,
        cfg_options=cli.cfg_options(arguments.cfg_options),
    )
    test(
        options,
        arguments.checkpoint,
        multi_scale=arguments.aug_test,
        command=sys.argv,
        out_dir=arguments.out,
        show_dir=arguments.show_dir,
        merge=not arguments.no_merge,
        max_memory_gb=arguments.max_memory,
        launcher=arguments.launcher,
    )


if __name__ == "__main__":
    cli.run(build_parser(), main)

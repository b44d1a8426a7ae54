"""Train a recipe: reads a config and its data, writes checkpoints, the resolved config and a log to the work dir."""

import argparse

from densebench import cli


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tools/train.py", description=__doc__)
    cli.add_recipe_options(parser)
    cli.add_run_options(parser)
    parser.add_argument("--pretrained", metavar="FILE|none|timm", help="starting weights in place of the recipe's")
    parser.add_argument("--mini-iters", type=cli.positive, metavar="N", help="iterations of a --mini run (default: 20)")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in the work dir")
    parser.add_argument(
        "--seed", type=cli.seed, metavar="N", help="seed of all random numbers; part of the experiment's name"
    )
    parser.add_argument(
        "--images-per-gpu",
        type=cli.positive,
        metavar="N",
        help="images a process takes at once; the rest of the recipe's batch is accumulated",
    )
    parser.add_argument("--dry-run", action="store_true", help="print schedule, learning rates and load report only")
    return parser


def main(arguments: argparse.Namespace) -> None:
    from densebench.allocator import keep_freed_memory
    from densebench.engine.distributed import process_group
    from densebench.engine.launchers import this_process
    from densebench.engine.training import dry_run, train

    keep_freed_memory()
    options = cli.run_options(arguments, world_size=this_process(arguments.launcher).world_size)
    if arguments.dry_run:
        dry_run(options)
    else:
        with process_group(arguments.launcher) as launcher:
            train(options, resume=arguments.resume, launcher=launcher)


if __name__ == "__main__":
    cli.run(build_parser(), main)

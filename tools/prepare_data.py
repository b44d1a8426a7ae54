"""Data sets: check one before a run, write a generated miniature, or unpack the official archives.

check reads every file and prints what each split holds and every problem; it exits with 1 where a run would be refused.
mini, ade20k, cityscapes and coco write a data root, which tools/train.py takes as --data-root.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from densebench import cli
from densebench.errors import DensebenchError

ARCHIVES = ("ade20k", "cityscapes", "coco")
SHOWN = 20


def build_parser() -> argparse.ArgumentParser:
    """The command line, as the contract has it."""
    parser = argparse.ArgumentParser(
        prog="tools/prepare_data.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser("check", help="what a data set holds, and what is wrong with it")
    check.add_argument("subject", metavar="CONFIG_OR_DATASET", help="a config, or ade20k, cityscapes, coco, folder ...")
    check.add_argument("--data-root", metavar="D", help="default: where the recipe looks")
    check.add_argument("--all", action="store_true", help=f"name all that have a problem, not the first {SHOWN}")
    mini = actions.add_parser("mini", help="write the generated miniature of a data set")
    mini.add_argument("dataset", metavar="DATASET", choices=(*ARCHIVES, "folder", "coco_folder"))
    mini.add_argument("data_root", metavar="D", type=Path, help="the folder to write; a new one")
    for name in ARCHIVES:
        unpack = actions.add_parser(name, help="unpack the official archives; can be stopped and started again")
        unpack.add_argument("archives", metavar="FOLDER", type=Path, help="where the archives lie")
        unpack.add_argument("--data-root", metavar="D", type=Path, help="default: where the recipes look")
    for action in actions.choices.values():  # also behind the action
        action.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show a traceback")
    return parser


def main(arguments: argparse.Namespace) -> None:
    from densebench.engine.console import captured_imports, console

    screen = console()
    if arguments.action == "check":
        with captured_imports():
            import densebench.registration  # noqa: F401
            from densebench.data.inspection import inspect, subject_of
            from densebench.data.report import finding_lines
        found = inspect(subject_of(arguments.subject, arguments.data_root), screen)
        shown = None if arguments.all else SHOWN
        screen.print(f"{found.subject.layout} in {found.subject.root}", markup=False)
        for split in found.splits:
            screen.print(split.text(shown), markup=False)
        for finding in found.findings:
            screen.print("\n".join(finding_lines(finding, shown)), markup=False)
        if found.is_refused:
            raise DensebenchError("a run on these data would be refused, for the reasons given above")
        screen.print("No problem that a run would refuse.")
    elif arguments.action == "mini":
        from densebench.data import mini

        mini.write(arguments.dataset, arguments.data_root)
        screen.print(f"Wrote the miniature of {arguments.dataset}: {arguments.data_root}", markup=False)
    else:
        from densebench.data.preparation import prepare

        root = prepare(arguments.action, arguments.archives, arguments.data_root, screen)
        screen.print(f"Data root: {root}", markup=False)


if __name__ == "__main__":
    cli.run(build_parser(), main)

"""Turn a released checkpoint, or a timm model's file, into safetensors under our names.

Reads SRC (.pth or .safetensors, never unpickling); prints what was recognized and writes DST, a new .safetensors.
A segmentor or detector stays whole. What is written is fit for tools/train.py --pretrained and for tools/test.py.
"""

import argparse
from pathlib import Path

from densebench import cli


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/convert_checkpoint.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="SRC", type=Path, help="the checkpoint to read")
    parser.add_argument("destination", metavar="DST", type=Path, help="the .safetensors file to write; never replaced")
    parser.add_argument(
        "--backbone", metavar="NAME", help="check against a registered backbone or timm/NAME; a misfit writes nothing"
    )
    return parser


def main(arguments: argparse.Namespace) -> None:
    from densebench.conversion import convert

    print(convert(arguments.source, arguments.destination, arguments.backbone).summary())


if __name__ == "__main__":
    cli.run(build_parser(), main)

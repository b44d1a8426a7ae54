"""From the start of a test to its first image, beside the toolboxes' own tools, and `--help` of ours.

    OMP_NUM_THREADS=1 python -m tests.perf.start [--runs N]

Both sides run their test tool on one generated data set in its own layout, with a checkpoint of random weights, and are
stopped when the first image is about to be given to the model, when all is imported, checked, built and loaded. The
toolboxes run their recipe that is nearest to ours. Processor seconds, which vary less than wall time on a machine
with other work, are those of the main process.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.perf.table import HEADER, Spent, result_row, time_row

ROOT = Path(__file__).parents[2]
SIDES = ("vanilla", "ours")


@dataclass(frozen=True)
class Pair:
    """One recipe of ours, and the toolbox's nearest to it."""

    ours: str
    toolbox: str
    vanilla: str  # below the toolbox's configs
    data: str  # of the toolbox's options, those that name the data set; {} is its root


PAIRS = (
    Pair(
        "upernet_convnext_t_ade20k",
        "mmseg",
        "swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py",
        "model.backbone.init_cfg=None test_dataloader.dataset.data_root={}",
    ),
    Pair(
        "mask_rcnn_convnext_t_coco",
        "mmdet",
        "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
        "model.backbone.init_cfg=None test_dataloader.dataset.data_root={0}/ "
        "test_evaluator.ann_file={0}/annotations/instances_val2017.json",
    ),
)

STOP = """
import runpy, sys, time
if sys.argv.pop(1) == "vanilla":
    from densebench import mmcv_ops
    mmcv_ops.install()
else:
    from densebench import lazy_packages
    lazy_packages.install()
from mmengine.runner import TestLoop
def stop(loop, index, batch):
    import json, multiprocessing, os
    print(json.dumps([time.process_time(), time.time()]), file=sys.__stdout__, flush=True)
    for worker in multiprocessing.active_children():  # they would hold the output open
        worker.kill()
    os._exit(0)
TestLoop.run_iter = stop
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""

SAVE_VANILLA = """
import importlib, sys, torch
from densebench import mmcv_ops
mmcv_ops.install()
from mmengine.config import Config
toolbox, config, path = sys.argv[1:]
importlib.import_module(f"{toolbox}.utils").register_all_modules()
from mmengine.registry import MODELS
model = Config.fromfile(config).model
for part in (model, model.backbone):
    part.pop("pretrained", None)
    part.pop("init_cfg", None)
torch.save({"state_dict": MODELS.build(model).state_dict(), "meta": {}}, path)
"""

SAVE_OURS = """
import sys, torch
import densebench.registration_detection
from densebench.building import building
from densebench.recipe import RunOptions, resolve
toolbox, config, path = sys.argv[1:]
recipe = resolve(RunOptions(config, pretrained="none", mini=True))
print(recipe.dataset.root)
from mmengine.registry import MODELS
with building(toolbox):
    torch.save({"state_dict": MODELS.build(recipe.config.model).state_dict()}, path)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="of which the median is told")
    arguments = parser.parse_args()
    print(HEADER)
    start_up(arguments.runs)


def start_up(runs: int) -> None:
    """Print the rows of the table: first images, then the help of each tool."""
    for pair in PAIRS:
        with tempfile.TemporaryDirectory() as folder:
            first_image(pair, Path(folder), runs)
    for tool in sorted((ROOT / "tools").glob("*.py")):
        seconds = statistics.median(wall_seconds([sys.executable, str(tool), "--help"]) for _ in range(runs))
        result_row(f"tools/{tool.name} --help", runs, f"{seconds:.2f} s")


def first_image(pair: Pair, folder: Path, runs: int) -> None:
    spec = importlib.util.find_spec(pair.toolbox)
    assert spec is not None and spec.origin is not None
    toolbox = Path(spec.origin).parent / ".mim"
    config = str(toolbox / "configs" / pair.vanilla)
    python(SAVE_VANILLA, pair.toolbox, config, str(folder / "vanilla.pth"))
    data_root = python(SAVE_OURS, pair.toolbox, pair.ours, str(folder / "ours.pth")).splitlines()[-1]
    work_dir = ["--work-dir", str(folder / "work_dir")]
    commands = {
        "vanilla": [
            *(str(toolbox / "tools" / "test.py"), config, str(folder / "vanilla.pth"), *work_dir),
            *("--cfg-options", *pair.data.format(data_root).split()),
        ],
        "ours": [
            *(str(ROOT / "tools" / "test.py"), pair.ours, str(folder / "ours.pth"), *work_dir),
            *("--data-root", data_root),
        ],
    }
    found: dict[str, list[Spent]] = {side: [] for side in SIDES}
    for run in range(runs + 1):
        for side in SIDES:
            begin = time.time()
            processor, end = json.loads(python(STOP, side, *commands[side]).splitlines()[-1])
            if run:  # the first one brings the files into memory
                found[side].append(Spent(end - begin, processor))
    time_row(f"start to the first image, {pair.ours}", *(found[side] for side in SIDES))


def python(code: str, *arguments: str) -> str:
    # Bytecode of our own files is kept, as an installed package's is.
    environment: dict[str, Any] = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment)
    if result.returncode:
        raise RuntimeError(f"{arguments}\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}")
    return result.stdout


def wall_seconds(command: Sequence[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()

"""Speed and memory of densebench beside the toolboxes' own code, both sides in turn; prints a table in Markdown.

    OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive python -m tests.perf.evaluation [--images DIR]
        [--only head model aspp bf16 test iou coco start] [--runs N] [--test-runs N] [--max-images N]

Nothing is trained and nothing is written. Without --images the multi-scale test runs on one image of noise.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.perf.start import start_up
from tests.perf.table import HEADER, Spent, compare, result_row, time_row, value_row

PARTS = ("head", "model", "aspp", "bf16", "test", "iou", "coco", "start")
SIZES = ((512, 512), (512, 2048))  # height, width
RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
CONFIG = "upernet_convnext_t_ade20k"
ASPP_CONFIG = "deeplabv3plus_mobilenetv2_k3_cityscapes"
SIDES = ("vanilla", "ours")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--images", type=Path, metavar="DIR", help="jpg files for the multi-scale test")
    parser.add_argument("--max-images", type=int, default=2, help="so many of them")
    parser.add_argument("--runs", type=int, default=3, help="of which the median is told")
    parser.add_argument("--test-runs", type=int, default=1, help="the same for the multi-scale test and COCO's boxes")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)  # one side of the multi-scale test alone
    arguments = parser.parse_args()
    if arguments.side is not None:
        print(json.dumps(multi_scale_side(arguments.side, arguments.images, arguments.max_images)))
        return
    runs, test_runs = arguments.runs, arguments.test_runs
    parts: dict[str, Callable[[], None]] = {
        "head": lambda: [head(size, runs) for size in SIZES],
        "model": lambda: [model(size, runs) for size in SIZES],
        "aspp": lambda: aspp(runs),
        "bf16": lambda: bfloat16(SIZES[0], runs),
        "test": lambda: multi_scale(arguments.images, arguments.max_images, test_runs),
        "iou": lambda: [iou(*case, max(runs, 15)) for case in (((512, 683), 150), ((1024, 2048), 19))],
        "coco": lambda: coco(test_runs),
        "start": lambda: start_up(runs),
    }
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, medians\n\n{HEADER}", flush=True)
    for part in arguments.only:
        parts[part]()


def head(size: tuple[int, int], runs: int) -> None:
    """UperNet's decode head on maps of ConvNeXt-T's sizes, one image."""
    segmentor = build()
    levels = [
        torch.randn(1, c, -(-size[0] // s), -(-size[1] // s))
        for c, s in zip((96, 192, 384, 768), (4, 8, 16, 32), strict=True)
    ]
    compare_head(f"head, {{}}, {size[0]}x{size[1]}", segmentor, levels, runs)


def aspp(runs: int) -> None:
    """DeepLabV3+'s decode head on the maps of a window of its tests (one) and of a crop of its training (two)."""
    segmentor = build(ASPP_CONFIG)
    levels = segmentor.extract_feat(torch.randn(2, 3, 769, 769))
    compare_head("DeepLabV3+'s head, {}, 769x769", segmentor, [level.detach() for level in levels], runs, first=1)


def compare_head(what: str, segmentor: Any, levels: Sequence[Tensor], runs: int, first: int | None = None) -> None:
    """Forward, on the `first` images alone, and forward + backward on all."""
    few = [level[:first] for level in levels]
    outputs = {}

    def infer(side: str) -> None:
        segmentor.decode_head.plain = side == "vanilla"
        with torch.no_grad():
            outputs[side] = segmentor.decode_head(few)

    compare(what.format("forward"), [lambda s=side: infer(s) for side in SIDES], runs)
    theirs, ours = (outputs[side] for side in SIDES)
    result_row("  largest difference of a value", 1, f"{((ours - theirs).abs().max() / theirs.abs().max()).item():.1e}")
    many = [level.clone().requires_grad_() for level in levels]
    steps = [lambda s=side: step(segmentor.decode_head, segmentor, s, many) for side in SIDES]
    compare(what.format("forward + backward"), steps, runs)


def model(size: tuple[int, int], runs: int) -> None:
    """UperNet + ConvNeXt-T, one image; both sides have our backbone."""
    segmentor = build()
    image = torch.randn(1, 3, *size)
    infer = [lambda s=side: scores(segmentor, s, image) for side in SIDES]
    compare(f"whole model, forward, {size[0]}x{size[1]}", infer, runs)
    steps = [lambda s=side: step(segmentor, segmentor, s, image) for side in SIDES]
    compare(f"whole model, forward + backward, {size[0]}x{size[1]}", steps, runs)


def bfloat16(size: tuple[int, int], runs: int) -> None:
    """The whole model as --amp runs it, mmseg's head and ours, and what it does to the predictions."""
    from densebench.engine.amp import low_precision

    segmentor = build()
    image = torch.randn(1, 3, *size)
    exact = scores(segmentor, "ours", image).argmax(1)
    with low_precision(segmentor, torch.bfloat16):
        infer = [lambda s=side: scores(segmentor, s, image) for side in SIDES]
        compare(f"whole model in bfloat16, forward, {size[0]}x{size[1]}", infer, runs)
        same = [100 * (scores(segmentor, side, image).argmax(1) == exact).float().mean().item() for side in SIDES]
    shown = " and ".join(f"{percent:.2f} %" for percent in same)
    result_row("  pixels with float32's prediction (random weights)", 1, shown)


def scores(segmentor: Any, side: str, image: Tensor) -> Tensor:
    segmentor.decode_head.plain = side == "vanilla"
    with torch.no_grad():
        return segmentor(image, mode="tensor")


def step(module: Any, segmentor: Any, side: str, inputs: Any) -> None:
    segmentor.decode_head.plain = side == "vanilla"
    segmentor.zero_grad()
    module(inputs).mean().backward()


def multi_scale(images: Path | None, max_images: int, runs: int) -> None:
    """Each side in a process of its own, for the peak of its memory."""
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    options = ["--max-images", str(max_images), *(["--images", str(images)] if images else [])]
    for _ in range(runs):
        for side in SIDES:
            command = [sys.executable, "-m", "tests.perf.evaluation", "--side", side, *options]
            result = subprocess.run(command, check=True, capture_output=True, text=True)
            found[side].append(json.loads(result.stdout.splitlines()[-1]))
    vanilla, ours = found["vanilla"], found["ours"]
    number = len(ours[0]["classes"])
    what = f"multi-scale test, 12 views, {number} image{'s' if number > 1 else ''}"
    same = 100 * float(
        np.mean(
            np.concatenate([np.frombuffer(bytes.fromhex(p), np.uint8) for p in vanilla[0]["classes"]])
            == np.concatenate([np.frombuffer(bytes.fromhex(p), np.uint8) for p in ours[0]["classes"]])
        )
    )
    time_row(what, *([Spent(r["wall_s"], r["cpu_s"]) for r in side] for side in (vanilla, ours)), f"{same:.4f} % equal")
    for which, key in (("peak memory of the process", "peak_gb"), ("  of it before the first image", "start_gb")):
        value_row(which, [r[key] for r in vanilla], [r[key] for r in ours], "GB")


def multi_scale_side(side: str, images: Path | None, max_images: int) -> dict[str, Any]:
    import mmcv
    from mmengine.registry import MODELS
    from mmseg.structures import SegDataSample

    segmentor = build()
    segmentor.decode_head.plain = side == "vanilla"
    kind = "SegTTAModel" if side == "vanilla" else "StreamingMultiScaleTest"
    tester = MODELS.build({"type": kind, "module": segmentor})
    pictures = [np.random.default_rng(0).integers(0, 256, (512, 683, 3), np.uint8)]
    if images is not None:
        pictures = [mmcv.imread(file) for file in sorted(images.rglob("*.jpg"))[:max_images]]
    start_gb, classes = peak_gb(), []
    wall, cpu = time.perf_counter(), time.process_time()
    for picture in pictures:
        inputs, samples = [], []
        for ratio in RATIOS:
            resized = mmcv.imrescale(picture, (round(2048 * ratio), round(512 * ratio)))
            for flip in (False, True):
                view = mmcv.imflip(resized) if flip else resized
                inputs.append([torch.from_numpy(np.ascontiguousarray(view)).permute(2, 0, 1)])
                metainfo = {
                    "ori_shape": picture.shape[:2],
                    "img_shape": view.shape[:2],
                    "flip": flip,
                    "flip_direction": "horizontal" if flip else None,
                    "img_path": "",
                }
                samples.append([SegDataSample(metainfo=metainfo)])
        with torch.no_grad():
            (result,) = tester.test_step({"inputs": inputs, "data_samples": samples})
        classes.append(result.pred_sem_seg.data.numpy().astype(np.uint8).tobytes().hex())
    spent = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    return {**spent, "peak_gb": peak_gb(), "start_gb": start_gb, "classes": classes}


def peak_gb() -> float:
    """Of this process until now, all that it maps included; ru_maxrss counts KiB on Linux."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def iou(size: tuple[int, int], num_classes: int, runs: int) -> None:
    from mmseg.evaluation import IoUMetric

    from densebench.evaluation.iou import area_counts

    generator = np.random.default_rng(0)
    patches = generator.integers(0, num_classes, (size[0] // 16 + 1, size[1] // 16 + 1))
    label = patches.repeat(16, axis=0).repeat(16, axis=1)[: size[0], : size[1]].astype(np.uint8)
    prediction = np.where(generator.random(size) < 0.7, label, generator.integers(0, num_classes, size))
    label[:20] = 255
    tensors = torch.from_numpy(prediction), torch.from_numpy(label)
    sides = [
        lambda: IoUMetric.intersect_and_union(tensors[0], tensors[1].to(tensors[0]), num_classes, 255),
        lambda: area_counts(prediction, label, num_classes, 255),
    ]
    compare(f"IoU counts, {size[0]}x{size[1]}, {num_classes} classes", sides, runs)


def coco(runs: int) -> None:
    """The rows of tests.perf.coco at their full size."""
    from tests.perf.coco import compare_boxes, compare_masks

    compare_masks(runs=10)
    with tempfile.TemporaryDirectory() as folder:
        compare_boxes(5000, 500_000, runs, Path(folder))


def build(config_name: str = CONFIG) -> Any:
    """A segmentor for whole images, with random weights, in test mode (batch norms with statistics)."""
    from mmengine.registry import MODELS, DefaultScope

    import densebench.registration  # noqa: F401
    from densebench.recipe import RunOptions, resolve

    torch.manual_seed(0)
    options = RunOptions(config_name, pretrained="none", cfg_options={"test_ss.mode": "whole"})
    config = resolve(options, with_data=False).config
    DefaultScope.get_instance("perf", scope_name="mmseg")
    segmentor = MODELS.build(config.model).eval()
    torch.nn.init.normal_(segmentor.decode_head.conv_seg.weight, std=0.5)  # classes that differ from place to place
    return segmentor


if __name__ == "__main__":
    main()

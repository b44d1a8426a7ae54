"""Speed and memory of densebench beside mmsegmentation's own code, both sides in turn; prints a table in Markdown.

    OMP_NUM_THREADS=2 python -m tests.perf.evaluation [--only head model test iou start] [--images DIR] [--runs N]

Nothing is trained and nothing is written. Without --images the multi-scale test runs on one image of noise.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.perf import start

PARTS = ("head", "model", "test", "iou", "start")
SIZES = ((512, 512), (512, 2048))  # height, width
RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
CONFIG = "upernet_convnext_t_ade20k"
SIDES = ("vanilla", "ours")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--images", type=Path, metavar="DIR", help="jpg files for the multi-scale test")
    parser.add_argument("--runs", type=int, default=3, help="of which the median is told")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)  # one side of the multi-scale test alone
    arguments = parser.parse_args()
    if arguments.side is not None:
        print(json.dumps(multi_scale_side(arguments.side, arguments.images)))
        return
    print(f"{torch.get_num_threads()} threads, medians of {arguments.runs}\n")
    print("| what | vanilla | ours | ratio |\n| --- | --- | --- | --- |")
    if "head" in arguments.only:
        for size in SIZES:
            head(size, arguments.runs)
    if "model" in arguments.only:
        for size in SIZES:
            model(size, arguments.runs)
    if "test" in arguments.only:
        multi_scale(arguments.images, arguments.runs)
    if "iou" in arguments.only:
        for size, num_classes in (((512, 683), 150), ((1024, 2048), 19)):
            iou(size, num_classes, max(arguments.runs, 15))
    if "start" in arguments.only:
        start.start_up(arguments.runs)


def head(size: tuple[int, int], runs: int) -> None:
    segmentor = build()
    levels = [
        torch.randn(1, c, -(-size[0] // s), -(-size[1] // s))
        for c, s in zip((96, 192, 384, 768), (4, 8, 16, 32), strict=True)
    ]
    compare(
        f"head, forward, {size[0]}x{size[1]}", [lambda s=side: forward(segmentor, s, levels) for side in SIDES], runs
    )
    for level in levels:
        level.requires_grad_()
    steps = [lambda s=side: step(segmentor.decode_head, segmentor, s, levels) for side in SIDES]
    compare(f"head, forward + backward, {size[0]}x{size[1]}", steps, runs)


def model(size: tuple[int, int], runs: int) -> None:
    segmentor = build()
    image = torch.randn(1, 3, *size)

    def infer(side: str) -> None:
        segmentor.decode_head.plain = side == "vanilla"
        with torch.no_grad():
            segmentor(image, mode="tensor")

    compare(f"whole model, forward, {size[0]}x{size[1]}", [lambda s=side: infer(s) for side in SIDES], runs)
    steps = [lambda s=side: step(segmentor, segmentor, s, image) for side in SIDES]
    compare(f"whole model, forward + backward, {size[0]}x{size[1]}", steps, runs)


def forward(segmentor: Any, side: str, levels: Sequence[Tensor]) -> None:
    segmentor.decode_head.plain = side == "vanilla"
    with torch.no_grad():
        segmentor.decode_head(levels)


def step(module: Any, segmentor: Any, side: str, inputs: Any) -> None:
    segmentor.decode_head.plain = side == "vanilla"
    segmentor.zero_grad()
    module(inputs).mean().backward()


def multi_scale(images: Path | None, runs: int) -> None:
    """Each side in a process of its own, for the peak of its memory."""
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(runs):
        for side in SIDES:
            command = [
                sys.executable,
                "-m",
                "tests.perf.evaluation",
                "--side",
                side,
                *(["--images", str(images)] if images else []),
            ]
            result = subprocess.run(command, check=True, capture_output=True, text=True)
            found[side].append(json.loads(result.stdout.splitlines()[-1]))
    for what, key, unit in (("time", "seconds", "s"), ("peak memory of the process", "peak_gb", "GB")):
        row(f"multi-scale test, {what}", *(statistics.median(r[key] for r in found[s]) for s in SIDES), unit)
    vanilla, ours = (
        np.concatenate([np.frombuffer(bytes.fromhex(p), np.uint8) for p in found[s][0]["classes"]]) for s in SIDES
    )
    print(
        f"| multi-scale test, pixels with the same prediction | | {100 * (vanilla == ours).mean():.4f} % | |",
        flush=True,
    )


def multi_scale_side(side: str, images: Path | None) -> dict[str, Any]:
    import mmcv
    from mmengine.registry import MODELS
    from mmseg.structures import SegDataSample

    segmentor = build()
    segmentor.decode_head.plain = side == "vanilla"
    kind = "SegTTAModel" if side == "vanilla" else "StreamingMultiScaleTest"
    tester = MODELS.build({"type": kind, "module": segmentor})
    pictures = [np.random.default_rng(0).integers(0, 256, (512, 683, 3), np.uint8)]
    if images is not None:
        pictures = [mmcv.imread(file) for file in sorted(images.rglob("*.jpg"))]
    classes, start = [], time.perf_counter()
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
    seconds = time.perf_counter() - start
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {"seconds": seconds, "peak_gb": peak_gb, "classes": classes}


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
    compare(f"IoU counts, {size[0]}x{size[1]}, {num_classes} classes", sides, runs, unit="ms")


def build() -> Any:
    """UperNet + ConvNeXt-T for whole images, with random weights, in test mode (batch norms with statistics)."""
    from mmengine.registry import MODELS, DefaultScope

    import densebench.registration  # noqa: F401
    from densebench.recipe import RunOptions, resolve

    torch.manual_seed(0)
    options = RunOptions(CONFIG, pretrained="none", cfg_options={"test_ss.mode": "whole"})
    config = resolve(options, with_data=False).config
    DefaultScope.get_instance("perf", scope_name="mmseg")
    segmentor = MODELS.build(config.model).eval()
    torch.nn.init.normal_(segmentor.decode_head.conv_seg.weight, std=0.5)  # classes that differ from place to place
    return segmentor


def compare(what: str, sides: Sequence[Callable[[], object]], runs: int, unit: str = "s") -> None:
    """Time both sides in turn, after one run each to warm up."""
    for run in sides:
        run()
    seconds: list[list[float]] = [[], []]
    for _ in range(runs):
        for run, found in zip(sides, seconds, strict=True):
            start = time.perf_counter()
            run()
            found.append(time.perf_counter() - start)
    scale = 1000 if unit == "ms" else 1
    row(what, *(scale * statistics.median(found) for found in seconds), unit)


def row(what: str, vanilla: float, ours: float, unit: str) -> None:
    print(f"| {what} | {vanilla:.3g} {unit} | {ours:.3g} {unit} | {vanilla / ours:.2f} |", flush=True)


if __name__ == "__main__":
    main()

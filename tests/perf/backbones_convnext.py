"""ConvNeXt and V2 beside timm's two forms: `python -m tests.perf.backbones_convnext [--only T,B,V2] [--rounds 5]`.

timm computes the linear layers of a block as such or as 1x1 convolutions (`conv_mlp`), each here in the layout that
suits it. Prints Markdown for docs/performance.md; the sides of a comparison take turns in one process, and a figure is
the median of the rounds. On a busy machine only CPU times compare, and they with OMP_WAIT_POLICY=passive.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import timm
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import backbones
from backbones.layers.linear import HAS_ONEDNN_BFLOAT16, linear

NAMES = {"T": ("convnext_t", "convnext_tiny"), "B": ("convnext_b", "convnext_base")}
NAMES["V2"] = ("convnextv2_tiny", "convnextv2_tiny")
Sides = dict[str, Callable[[], object]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="T,B,V2", help="of T, B, V2")
    parser.add_argument("--batch-sizes", default="1,2")
    parser.add_argument("--size", type=int, default=512, help="pixels of the images' sides")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtypes", default="float32,bfloat16" if HAS_ONEDNN_BFLOAT16 else "float32")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    capability = torch.backends.cpu.get_cpu_capability()
    print(f"torch {torch.__version__}, {capability}, {arguments.threads} thread(s), medians of {arguments.rounds}\n")
    print("| what | form | wall ms | CPU ms | ours is faster (wall, CPU) | GFLOP/s (wall, CPU) |")
    print("| --- | --- | --- | --- | --- | --- |")
    compare("2048 x 2048 x 2048", products(), arguments.rounds, 2048**3)
    for name in arguments.only.split(","):
        networks = forms(*NAMES[name])
        multiply_adds = count(networks["ours"][0], arguments.size)
        for batch_size in map(int, arguments.batch_sizes.split(",")):
            x = torch.randn(batch_size, 3, arguments.size, arguments.size)
            inputs = {form: (network, x.to(memory_format=layout)) for form, (network, layout) in networks.items()}
            for dtype in (getattr(torch, dtype) for dtype in arguments.dtypes.split(",")):
                case = f"ConvNeXt {name}, batch {batch_size}, {str(dtype).removeprefix('torch.')}, "
                sides = {form: inference(*pair, dtype) for form, pair in inputs.items()}
                compare(case + "forward", sides, arguments.rounds, batch_size * multiply_adds)
                sides = {form: training(*pair, dtype) for form, pair in inputs.items()}
                compare(case + "forward + backward", sides, arguments.rounds, 3 * batch_size * multiply_adds)


def products() -> Sides:
    """What a matrix product alone reaches, by oneDNN (as ours) and as torch computes it."""
    left, right = torch.randn(2, 2048, 2048)

    def run(product: Callable[..., Tensor]) -> Callable[[], Tensor]:
        return torch.inference_mode()(lambda: product(left, right, None))

    return {"ours": run(linear), "torch": run(nn.functional.linear)}


def forms(ours: str, theirs: str) -> dict[str, tuple[nn.Module, torch.memory_format]]:
    """Networks, and the layout of their input."""
    return {
        "ours": (backbones.build(ours), torch.contiguous_format),
        "timm": (timm.create_model(theirs, features_only=True), torch.contiguous_format),
        "timm, conv_mlp, channels_last": (
            timm.create_model(theirs, features_only=True, conv_mlp=True).to(memory_format=torch.channels_last),
            torch.channels_last,
        ),
    }


def count(network: nn.Module, size: int) -> int:
    """Multiply-adds of one image."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, size, size))
    return counter.get_total_flops() // 2


def inference(network: nn.Module, x: Tensor, dtype: torch.dtype) -> Callable[[], object]:
    """Runs a network in evaluation mode, in bfloat16 by autocast."""

    def run() -> object:
        network.eval()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            return network(x)

    return run


def training(network: nn.Module, x: Tensor, dtype: torch.dtype) -> Callable[[], object]:
    """Runs a network in training mode, forward and backward."""

    def run() -> None:
        network.train().zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            maps = network(x)
        sum(level.float().square().mean() for level in maps).backward()

    return run


def compare(title: str, sides: Sides, rounds: int, multiply_adds: int) -> None:
    """Print a row per side: medians, ours against it, and the rate, which in CPU time is that of one thread."""
    clocks = (time.perf_counter, time.process_time)
    seconds: dict[str, list[tuple[float, ...]]] = {form: [] for form in sides}
    for run in sides.values():
        run()
    for _ in range(rounds):
        for form, run in sides.items():
            start = [clock() for clock in clocks]
            run()
            seconds[form].append(tuple(clock() - begun for clock, begun in zip(clocks, start, strict=True)))
    medians = {form: [statistics.median(times) for times in zip(*rows, strict=True)] for form, rows in seconds.items()}
    for form, (wall, cpu) in medians.items():
        ratios = f"{wall / medians['ours'][0]:.2f}, {cpu / medians['ours'][1]:.2f}"
        rates = f"{2 * multiply_adds / wall / 1e9:.0f}, {2 * multiply_adds / cpu / 1e9:.0f}"
        print(f"| {title} | {form} | {wall * 1e3:.0f} | {cpu * 1e3:.0f} | {ratios} | {rates} |", flush=True)


if __name__ == "__main__":
    main()

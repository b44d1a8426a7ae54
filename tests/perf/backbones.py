"""How fast the backbones are beside their plain forms: `python -m tests.perf.backbones [--only SECTION,...]`.

Prints Markdown for docs/performance.md. The sides of a comparison take turns in one process, so that what disturbs the
machine disturbs all of them; a figure is the median of the rounds. Not collected by pytest: it takes minutes. Run it
with -m: as a script, its own name would hide the package `backbones`.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from unittest import mock

import torch
from torch import Tensor, nn

import backbones
import backbones.convnext
import backbones.mobilenet
import backbones.replknet
from backbones.layers.large_kernel import LargeKernelConv2d
from backbones.layers.linear import HAS_ONEDNN_BFLOAT16
from backbones.layers.pointwise import PointwiseConv2d
from densebench.cost.memory import allocated_peak_bytes


@dataclass(frozen=True)
class Comparison:
    """Callables that do the same work; the first is what the others are compared with."""

    title: str
    sides: dict[str, Callable[[], object]]


# Channels, side of the map, side of the kernel: of RepLKNet-31B at 512x512, stages 1, 3 and 4.
LAYERS = ((128, 128, 31), (512, 32, 27), (1024, 16, 13))


def layers() -> Iterator[Comparison]:
    """Single depthwise convolutions."""
    for channels, side, kernel in LAYERS:
        ours = LargeKernelConv2d(channels, kernel)
        x = torch.randn(1, channels, side, side)
        name = f"{kernel}x{kernel}, {channels} channels, {side}x{side}"
        yield from forward_and_backward(
            name, {"nn.Conv2d": with_plain_convolutions(nn.Sequential(ours)), "ours": ours}, x
        )


def replknet() -> Iterator[Comparison]:
    """RepLKNet-31B at 512x512; merged: the authors' form, in which BNs stay; ours folds them as well."""
    ours = backbones.build("replknet_31b")
    x = torch.randn(1, 3, 512, 512)
    plain = with_plain_convolutions(ours)
    merged = copy.deepcopy(ours).eval()
    merged.merge_reparameterization(fold_norms=False)
    folded = copy.deepcopy(ours).eval()
    folded.merge_reparameterization()
    forms = {
        "nn.Conv2d": in_inference(plain, x),
        "nn.Conv2d, merged": in_inference(with_plain_convolutions(merged), x),
        "ours, as trained": in_inference(ours, x),
        "ours, merged": in_inference(folded, x),
    }
    if HAS_ONEDNN_BFLOAT16:
        forms["ours, merged, bf16"] = in_inference(folded, x, torch.bfloat16)
    yield Comparison("RepLKNet-31B, 512x512, forward", forms)
    training = {"nn.Conv2d": step(plain, x), "ours": step(ours, x)}
    yield Comparison("RepLKNet-31B, 512x512, forward + backward", training)


def others() -> Iterator[Comparison]:
    """The other backbones with large kernels, at 512x512."""
    for name in ("mobilenetv2_k13", "convnext_t_k31"):
        ours = backbones.build(name)
        x = torch.randn(1, 3, 512, 512)
        merged = copy.deepcopy(ours).eval()
        if hasattr(merged, "merge_reparameterization"):
            merged.merge_reparameterization()
        plain = with_plain_convolutions(ours)
        yield Comparison(
            f"{name}, 512x512, forward", {"nn.Conv2d": in_inference(plain, x), "ours": in_inference(merged, x)}
        )
        yield Comparison(f"{name}, 512x512, forward + backward", {"nn.Conv2d": step(plain, x), "ours": step(ours, x)})


SECTIONS: dict[str, Callable[[], Iterator[Comparison]]] = {"layers": layers, "replknet": replknet, "others": others}


def memory() -> None:
    """Peak of a training step of 256x256 pixels above weights and inputs, in MiB."""
    print("\n| training step, batch 1, 256x256 | peak MiB |\n| --- | --- |")
    x = torch.randn(1, 3, 256, 256)
    for name in ("replknet_31b", "mobilenetv2_k13", "convnext_t_k31"):
        ours = backbones.build(name)
        forms = {"nn.Conv2d": with_plain_convolutions(ours), "ours": ours}
        if "use_checkpoint" in backbones.accepted_arguments(name):
            forms["ours, checkpointed"] = backbones.build(name, use_checkpoint=True)
        for form, network in forms.items():
            run = step(network, x)
            run()  # the choice is measured before
            print(f"| {name}, {form} | {allocated_peak_bytes(run) / 2**20:.0f} |", flush=True)


class InOwnLayout(nn.Module):
    """A network that computes in the layout of its images, (N, C, H, W), as those that it is compared with do."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> object:
        """As the network's."""
        with contextlib.ExitStack() as stack:
            for module in (backbones.convnext, backbones.mobilenet, backbones.replknet):
                stack.enter_context(mock.patch.object(module, "channels_last_on_cpu", lambda images: images))
            return self.network(x)


def with_plain_convolutions(network: nn.Module) -> nn.Module:
    """A copy in which nn.Conv2d, in (N, C, H, W) as it ships, takes the place of our convolutions."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, (LargeKernelConv2d, PointwiseConv2d)):
                plain = nn.Conv2d(
                    child.in_channels,
                    child.out_channels,
                    child.kernel_size,
                    child.stride,
                    child.padding,
                    child.dilation,
                    child.groups,
                    child.bias is not None,
                )
                plain.load_state_dict(child.state_dict())
                setattr(module, name, plain)
    return InOwnLayout(network)


def forward_and_backward(name: str, networks: dict[str, nn.Module], x: Tensor) -> Iterator[Comparison]:
    """Two comparisons: inference, and a training step with the input's gradient."""
    yield Comparison(f"{name}, forward", {form: in_inference(network, x) for form, network in networks.items()})
    x = x.clone().requires_grad_()
    yield Comparison(f"{name}, forward + backward", {form: step(network, x) for form, network in networks.items()})


def in_inference(network: nn.Module, x: Tensor, dtype: torch.dtype | None = None) -> Callable[[], object]:
    """Runs a network in evaluation mode, under autocast where a dtype is given."""
    network = network.eval()

    def run() -> object:
        network.eval()
        with torch.inference_mode(), torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            return network(x)

    return run


def step(network: nn.Module, x: Tensor) -> Callable[[], object]:
    """Runs a network in training mode, forward and backward from the sum of its outputs."""

    def run() -> None:
        network.train().zero_grad()
        outputs = network(x)
        sum(output.sum() for output in (outputs if isinstance(outputs, tuple) else (outputs,))).backward()

    return run


def compare(comparison: Comparison, rounds: int) -> None:
    """Print a row per side: median, its CPU time over all threads, and how many times faster than the first side.

    On a busy machine the CPU times of one thread (`--threads 1`) are the ones to compare.
    """
    seconds: dict[str, list[float]] = {name: [] for name in comparison.sides}
    cpu_seconds: dict[str, list[float]] = {name: [] for name in comparison.sides}
    for run in comparison.sides.values():
        run()
    for _ in range(rounds):
        for name, run in comparison.sides.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            run()
            seconds[name].append(time.perf_counter() - start)
            cpu_seconds[name].append(time.process_time() - cpu_start)
    first = next(iter(comparison.sides))
    for name in comparison.sides:
        columns = [comparison.title, name]
        for times in (seconds, cpu_seconds):
            median = statistics.median(times[name])
            columns += [f"{median * 1e3:.1f}", f"{statistics.median(times[first]) / median:.2f}"]
        print("| " + " | ".join(columns) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", default=",".join([*SECTIONS, "memory"]), help="of " + ", ".join([*SECTIONS, "memory"])
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    wanted = arguments.only.split(",")
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {arguments.threads} thread(s)\n")
    print("| what | form | ms | times as fast | CPU ms | times as fast |\n| --- | --- | --- | --- | --- | --- |")
    for name, section in SECTIONS.items():
        if name in wanted:
            for comparison in section():
                compare(comparison, arguments.rounds)
    if "memory" in wanted:
        memory()


if __name__ == "__main__":
    main()

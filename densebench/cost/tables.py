"""What a benchmark prints: one line a cost, and the grid of number formats, layouts and compilation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from densebench.cost.count import is_detection


def cost_table(record: Mapping[str, Any]) -> Table:
    """What a benchmark's record holds, one line a cost."""
    cost, protocol = record["cost"], record["protocol"]
    width, height = protocol["input"]
    is_detector = is_detection(record["method"])
    title = f"{record['experiment']}: {record['method']} + {record['backbone']} at {width}x{height}"
    table = Table("cost", "value", "how", title=title, title_justify="left", box=box.SIMPLE_HEAD)
    if cost["params_m"] is not None:
        what = "the whole detector" if is_detector else "with the auxiliary head"
        table.add_row("parameters", f"{cost['params_m']:.2f} M", f"{what}: {listed(cost['params_by_part'], '.1f')}")
    if cost["flops_g"] is not None:
        table.add_row("multiply-adds", f"{cost['flops_g']:.1f} G", f"one image: {listed(cost['flops_by_part'], '.1f')}")
        outside = f"{listed(cost['flops_outside'], '.2f')} G; " if cost["flops_outside"] else ""
        table.add_row("not counted", "", outside + ", ".join(_short(name) for name in cost["uncounted"]))
    batch = f"batch {protocol['batch_size']}"
    latency = cost["latency_ms"]
    if latency is not None:
        _add_latency(table, cost, batch, is_detector)
    if cost["peak_memory_mb"] is not None:
        table.add_row(
            "peak memory", f"{cost['peak_memory_mb']:.0f} MiB", f"{batch}: inference, with weights and inputs"
        )
        training = cost["train_peak_memory_mb"]
        how = cost["train_memory_note"] or "forward, backward, optimizer"
        value = "not measured" if training is None else f"{training:.0f} MiB"
        table.add_row("of training", value, f"batch {cost['train_batch_size']}: {how}")
        table.add_row("of the process", f"{cost['process_peak_memory_mb']:.0f} MiB", "code and libraries included")
    if cost.get("train_memory_estimate") is not None:
        _add_estimate(table, cost["train_memory_estimate"])
    if cost["device"] is not None:
        clock = "clock unknown" if cost["clock_mhz"] is None else f"{cost['clock_mhz']:.0f} MHz"
        compiled = f", compiled: {', '.join(cost['compiled'])}" if cost["compiled"] else ""
        table.caption = (
            f"{cost['device']}, {clock}, {cost['dtype']}, {cost['memory_format']}, {cost['threads']} CPU threads"
            + compiled
        )
        table.caption_justify = "left"
    return table


def grid_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """The grid, one line a combination; why one has no latency stands below, once for all that fail alike."""
    table = Table("dtype", "layout", "compiled", "median", "p5", "p95", "FPS", "", title="latency, ms")
    table.title_justify, table.caption_justify, table.box = "left", "left", box.SIMPLE_HEAD
    notes: list[str] = []
    for row in rows:
        latency = row["latency_ms"]
        figures = [f"{latency[key]:.1f}" for key in ("median", "p5", "p95")] if latency else ["", "", ""]
        fps = f"{row['fps']:.3g}" if latency else ""
        if row["note"] and row["note"] not in notes:
            notes.append(row["note"])
        number = f"[{notes.index(row['note']) + 1}]" if row["note"] else ""
        compiled = "yes" if row["compile"] else "no"
        table.add_row(row["dtype"], row["memory_format"], compiled, *figures, fps, Text(number))
    if notes:
        table.caption = Text("\n".join(f"[{number}] {note}" for number, note in enumerate(notes, start=1)))
    return table


def listed(parts: Mapping[str, float], digits: str) -> str:
    """Names and numbers in one line."""
    return ", ".join(f"{_short(part)} {value:{digits}}" for part, value in parts.items())


def _short(operator: str) -> str:
    return operator.removeprefix("aten.").removeprefix("torchvision.")


def _add_latency(table: Table, cost: Mapping[str, Any], batch: str, is_detector: bool) -> None:
    latency = cost["latency_ms"]
    spread = f"p5 {latency['p5']:.1f}, p95 {latency['p95']:.1f}, IQR {latency['iqr']:.1f}, {latency['runs']} runs"
    warmup = "" if latency["warmup_stable"] else "; warm-up ended at its limit, not yet stable"
    table.add_row("latency", f"{latency['median']:.1f} ms", f"{batch}: {spread}{warmup}")
    what = "from pixels to detections" if is_detector else "of the network alone"
    table.add_row("speed", f"{cost['fps']:.3g} FPS", f"{batch}: images per second {what}")
    parts = listed(latency["parts"], ".1f") if "parts" in latency else "not split"
    table.add_row("end to end", f"{latency['end_to_end']['median']:.1f} ms", f"{batch}: {parts}")
    if "multi_scale" in latency:
        views = latency["multi_scale"]["views"]
        table.add_row("multi-scale", f"{latency['multi_scale']['median']:.1f} ms", f"{batch}: all {views} views")


def _add_estimate(table: Table, found: Mapping[str, Any]) -> None:
    width, height = found["input"]
    precision = "mixed precision" if found["amp"] else "float32"
    what = f"{found['images']} images of {width}x{height}, {precision}, {found['optimizer']}"
    table.add_row("training, predicted", f"{found['peak_mb']:.0f} MiB", f"on a GPU: {what}")
    parts = {
        "weights": found["parameters_mb"],
        "optimizer": found["optimizer_mb"],
        "activations, gradients, workspace": found["activations_mb"],
        "correction": found["correction_mb"],
    }
    table.add_row("", "", listed(parts, ".0f"))
    table.add_row("", f"{found['several_gpus_mb']:.0f} MiB", "on each of several GPUs, with buckets of gradients")

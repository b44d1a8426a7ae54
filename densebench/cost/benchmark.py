"""A cost benchmark, from options to its record."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from densebench import provenance
from densebench.cost.count import DETECTION_METHODS
from densebench.cost.measure import CostSettings, input_shape, measure
from densebench.engine.console import captured_imports, console
from densebench.errors import DensebenchError
from densebench.leaderboard.records import new_record_path, write_record
from densebench.leaderboard.schema import SCHEMA
from densebench.recipe import Recipe, RunOptions, require_writable, resolve

# A benchmark measures none of them.
METRICS = ("mIoU", "aAcc", "mAcc", "bbox_AP", "segm_AP")


def benchmark(
    options: RunOptions, settings: CostSettings, command: Sequence[str], json_file: Path | None = None
) -> Path:
    """Measure a recipe's costs, print them, and write a record to its work dir and a copy of it to `json_file`.

    Needs neither data nor weights: `options.data_root` and `options.pretrained` are not read.

    Raises:
        DensebenchError: anything in the recipe that does not fit, a cost that cannot be measured, a file that cannot
            be written.
    """
    screen = console()
    # torch's profiler reports its own start and stop on the console, and as an error that there is no GPU.
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    with captured_imports():
        import densebench.registration  # noqa: F401
    recipe = resolve(replace(options, pretrained="none"), with_data=False)
    if recipe.description["num_classes"] is None:
        raise DensebenchError(
            f"{options.config} reads its number of classes from your data, which a benchmark does not need: "
            "name the number instead, --cfg-options num_classes=N."
        )
    # Before minutes of measuring: what cannot be written should be said at once.
    require_writable(recipe.work_dir)
    if json_file is not None:
        require_writable_file(json_file)
    if recipe.dropped_arguments:
        arguments = ", ".join(recipe.dropped_arguments)
        screen.print(f"Arguments that {recipe.identity.backbone} does not know: {arguments}")
    with captured_imports():
        cost = measure(recipe, settings)
    record = record_of(recipe, settings, cost, _pretrain_label(recipe, options), command)
    path = new_record_path(recipe.work_dir, "benchmark")
    write_record(record, path)
    screen.print(cost_table(record))
    screen.print(f"Record: {path}")
    if json_file is not None:
        _copy(path, json_file)
    return path


def record_of(
    recipe: Recipe, settings: CostSettings, cost: Mapping[str, Any], pretrain: str | None, command: Sequence[str]
) -> dict[str, Any]:
    """The record of a benchmark; nothing is known of weights or data, since none were used."""
    identity = recipe.identity
    return {
        "schema": SCHEMA,
        "kind": "benchmark",
        "experiment": identity.experiment,
        "backbone": identity.backbone,
        "method": identity.method,
        "dataset": identity.dataset,
        "pretrain": pretrain,
        "schedule": identity.schedule,
        "mini": identity.mini,
        "total_batch": identity.total_batch,
        "images_per_gpu": identity.images_per_gpu,
        "protocol": {
            "input": list(input_shape(recipe, settings)),
            "batch_size": settings.batch_size,
            "only": list(settings.only),
        },
        "metrics": dict.fromkeys(METRICS),
        "per_image": None,
        "cost": dict(cost),
        "provenance": provenance.collect(recipe.config.pretty_text, command),
    }


def cost_table(record: Mapping[str, Any]) -> Table:
    """What a benchmark's record holds, one line a cost."""
    cost, protocol = record["cost"], record["protocol"]
    width, height = protocol["input"]
    is_detector = record["method"] in DETECTION_METHODS
    title = f"{record['experiment']}: {record['method']} + {record['backbone']} at {width}x{height}"
    table = Table("cost", "value", "how", title=title, title_justify="left", box=box.SIMPLE_HEAD)
    if cost["params_m"] is not None:
        what = "the whole detector" if is_detector else "with the auxiliary head"
        table.add_row("parameters", f"{cost['params_m']:.2f} M", what)
    if cost["flops_g"] is not None:
        parts = ", ".join(f"{part} {flops:.1f}" for part, flops in cost["flops_by_part"].items())
        table.add_row("multiply-adds", f"{cost['flops_g']:.1f} G", f"one image: {parts}")
    batch = f"batch {protocol['batch_size']}"
    latency = cost["latency_ms"]
    if latency is not None:
        spread = f"p5 {latency['p5']:.1f}, p95 {latency['p95']:.1f}, IQR {latency['iqr']:.1f}, {latency['runs']} runs"
        warmup = "" if latency["warmup_stable"] else "; warm-up ended at its limit, not yet stable"
        table.add_row("latency", f"{latency['median']:.1f} ms", f"{batch}: {spread}{warmup}")
        what = "from pixels to detections" if is_detector else "of the network alone"
        table.add_row("speed", f"{cost['fps']:.3g} FPS", f"{batch}: images per second {what}")
    if cost["peak_memory_mb"] is not None:
        table.add_row(
            "peak memory", f"{cost['peak_memory_mb']:.0f} MiB", f"{batch}: inference, with weights and inputs"
        )
    if cost["device"] is not None:
        threads = f"{cost['threads']} CPU threads"
        table.caption = f"{cost['device']}, {cost['dtype']}, {cost['memory_format']}, {threads}"
        table.caption_justify = "left"
    return table


def _pretrain_label(recipe: Recipe, options: RunOptions) -> str | None:
    """The label that the recipe's test records have too; None where the weights belong to another backbone."""
    if options.mini:
        return recipe.identity.pretrain
    published = recipe.description.get("pretrained")
    return published["name"] if published is not None and options.backbone is None else None


def require_writable_file(file: Path) -> None:
    """Refuse a --json file that could not be written.

    Raises:
        DensebenchError: it is a folder, or its folder is missing or cannot be written to.
    """
    if file.is_dir() or not file.parent.is_dir():
        found = "that is a folder" if file.is_dir() else f"there is no folder {file.parent}"
        raise DensebenchError(f"--json {file}: expected a file in an existing folder, but {found}.")
    require_writable(file.parent, "--json")


def _copy(record: Path, file: Path) -> None:
    try:
        shutil.copyfile(record, file)
    except OSError as error:
        raise DensebenchError(
            f"--json {file} cannot be written ({error.strerror}); the record is at {record}."
        ) from error

"""A cost benchmark, from options to its record."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from densebench import provenance
from densebench.cost.grid import measure_grid
from densebench.cost.measure import CostSettings, input_shape, measure
from densebench.cost.tables import cost_table, grid_table
from densebench.engine.console import captured_imports, console
from densebench.errors import DensebenchError
from densebench.recipe import Recipe, RunOptions, require_writable, resolve
from densebench.results.records import new_record_path, write_record
from densebench.results.schema import SCHEMA

# A benchmark measures none of them.
METRICS = ("mIoU", "aAcc", "mAcc", "bbox_AP", "segm_AP")


def benchmark(
    options: RunOptions,
    settings: CostSettings,
    command: Sequence[str],
    json_file: Path | None = None,
    with_grid: bool = False,
) -> Path:
    """Measure a recipe's costs, print them, and write a record to its work dir and a copy of it to `json_file`.

    `with_grid` measures the latency of all combinations of number format, memory layout and compilation too.

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
    protocol = "test-ms" if settings.multi_scale else "test-ss"
    recipe = resolve(replace(options, pretrained="none"), protocol=protocol, with_data=False)
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
        if with_grid:
            cost["grid"] = measure_grid(recipe, settings)
    record = record_of(recipe, settings, cost, _pretrain_label(recipe, options), command)
    path = new_record_path(recipe.work_dir, "benchmark")
    write_record(record, path)
    screen.print(cost_table(record))
    if with_grid:
        screen.print(grid_table(cost["grid"]))
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
            "batch_size": settings.test_batch,
            "only": list(settings.only),
        },
        "metrics": dict.fromkeys(METRICS),
        "per_image": None,
        "cost": dict(cost),
        "provenance": provenance.collect(recipe.config.pretty_text, command),
    }


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

"""A test run, from a checkpoint to a record."""

from __future__ import annotations

import copy
import math
import resource
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from backbones.layers.initial_values import unset_parameters
from densebench import provenance
from densebench.channels import has_known_parts
from densebench.checkpoint import (
    LoadReport,
    load_state,
    read_checkpoint,
    require_match,
    state_dict_of,
    training_facts,
)
from densebench.cost.conditions import device_name
from densebench.data.dataset import split_files
from densebench.data.fingerprint import fingerprint
from densebench.engine.amp import amp_dtype, low_precision
from densebench.engine.console import ProgressHook, captured_imports, console, quiet_logger
from densebench.engine.time_share import TimeShareHook, tell_time
from densebench.engine.work_dir import MATCHED_PERCENT, latest_checkpoint
from densebench.errors import DensebenchError
from densebench.evaluation.precision_change import change_line
from densebench.key_layouts import for_model
from densebench.merging import merge_backbone
from densebench.recipe import Recipe, RunOptions, require_writable, resolve
from densebench.results.records import new_record_path, write_record
from densebench.starting_weights import file_sha256
from densebench.tasks import TASKS, task_of
from densebench.whole_files import written_whole


@dataclass(frozen=True)
class TestResult:
    """What a test found, in percent, and the record that holds it."""

    __test__ = False  # not a test case

    metrics: dict[str, float]
    record: Path


def test(
    options: RunOptions,
    checkpoint: str | None,
    *,
    multi_scale: bool,
    command: list[str],
    out_dir: Path | None = None,
    show_dir: Path | None = None,
    merge: bool = True,
    max_memory_gb: float | None = None,
    launcher: str = "none",
) -> TestResult:
    """Test a checkpoint by the recipe's single-scale or multi-scale protocol, and write the record.

    `checkpoint` defaults to the newest one in the work dir.

    Raises:
        DensebenchError: no checkpoint, one of another architecture, or anything in recipe or data that does not fit.
    """
    kind = "test-ms" if multi_scale else "test-ss"
    screen, timing = console(), TimeShareHook()
    with captured_imports() as notices:
        import densebench.registration  # noqa: F401
        from densebench.engine.runner import SafeRunner
    recipe = resolve(options, protocol=kind)
    task = task_of(recipe.identity.method)
    if max_memory_gb is not None and task.name != "segmentation":
        raise DensebenchError(
            "--max-memory bounds the scores of segmentation tests; a detector's test keeps boxes alone."
        )
    file = Path(checkpoint) if checkpoint is not None else latest_checkpoint(recipe.work_dir, options.mini)
    content = read_checkpoint(file, lazily=True)
    trained = training_facts(content, file)
    require_same_architecture(recipe, trained, file)
    # The checkpoint knows its experiment in full (seed, length of a mini run), the command line only in part.
    experiment = trained.get("experiment", recipe.identity.experiment)
    work_dir = recipe.work_dir if options.work_dir else Path("work_dirs") / experiment
    require_writable(work_dir)
    for folder, option in ((out_dir, "--out"), (show_dir, "--show-dir")):
        if folder is not None:
            require_writable(folder, option)

    config = copy.deepcopy(recipe.config)
    config.launcher = launcher
    if config.get("tta_model") is not None:
        bound = {} if max_memory_gb is None else {"max_memory_gb": max_memory_gb}
        config.model = {**config.tta_model, **bound, "module": config.model}
    # A user's module may compute more than its parameters from the random numbers.
    filled = not options.allow_partial and has_known_parts(recipe.config.model)
    with captured_imports() as building, unset_parameters() if filled else nullcontext():
        runner = SafeRunner.from_cfg(config)
    quiet_logger(runner.logger)
    runner.logger.info("notices while importing and building:\n%s%s", notices.getvalue(), building.getvalue())
    report = load_into(runner, content, file, options.allow_partial)
    del content  # the weights, a second time
    merged = merge_backbone(unwrapped(runner), merge)

    identity, dataset = recipe.identity, recipe.dataset
    assert dataset is not None
    screen.print(f"{experiment}: {kind} of {file} on {dataset.root}")
    cost = RunCostHook()
    runner.register_hook(ProgressHook(screen, interval=1, unit="images", result_line=task.result_line))
    runner.register_hook(cost)
    runner.register_hook(timing)
    if out_dir is not None or show_dir is not None:
        runner.register_hook(task.prediction_files(out_dir, show_dir, dataset.layout))
    with precision(unwrapped(runner), options.amp):
        metrics = runner.test()
    if runner.rank != 0:
        return TestResult(metrics, Path())

    path = new_record_path(work_dir, kind)
    spent = timing.spent()
    per_image = runner.test_evaluator.metrics[0].per_image
    write_per_image(
        path.with_suffix(".npz"), per_image, dataset.root, runner.test_dataloader.dataset.metainfo["classes"]
    )
    files = split_files(dataset.layout, dataset.root, "val")
    write_record(
        {
            "schema": 1,
            "kind": kind,
            "experiment": experiment,
            "backbone": identity.backbone,
            "method": identity.method,
            "dataset": identity.dataset,
            # How the checkpoint was trained is known from the checkpoint alone.
            **{key: trained.get(key) for key in ("pretrain", "schedule", "total_batch", "images_per_gpu")},
            "mini": identity.mini,
            "protocol": {
                **recipe.description[kind.replace("-", "_")],
                **({"train_size": trained["train_size"]} if "train_size" in trained else {}),
            },
            "metrics": recorded_metrics(metrics),
            "per_image": path.with_suffix(".npz").name,
            "cost": {
                **model_cost(recipe),
                **cost.measured(options.amp),
                "merged": merged,
                "time_share": spent.shares(),
            },
            "provenance": provenance.collect(
                recipe.config.pretty_text,
                command,
                checkpoint_sha256=file_sha256(file),
                weights_matched_percent=report.matched_percent,
                starting_weights_matched_percent=trained.get(MATCHED_PERCENT),
                dataset_fingerprint=fingerprint(files, dataset.root),
                num_images=len(per_image["images"]),
                generated_data=dataset.is_generated,
                seed=trained["seed"],
                world_size=runner.world_size,
            ),
        },
        path,
    )
    screen.print(task.result_line(metrics))
    change = change_line(path, task.metrics)
    if change is not None:
        screen.print(change)
    tell_time(spent, screen, runner.logger)
    screen.print(f"Record: {path}")
    return TestResult(metrics, path)


def recorded_metrics(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """All tasks' metrics as a record has them: None where they do not belong to the task or are not defined."""
    known: dict[str, float | None] = {name: None for task in TASKS for name in task.metrics}
    return known | {name: None if math.isnan(value) else value for name, value in metrics.items()}


def require_same_architecture(recipe: Recipe, trained: Mapping[str, Any], file: Path) -> None:
    """Refuse a checkpoint that says it was trained as something else; one that says nothing is judged by its tensors.

    Raises:
        DensebenchError: another backbone or method.
    """
    expected = {"backbone": recipe.identity.backbone, "method": recipe.identity.method}
    found = {key: trained.get(key, value) for key, value in expected.items()}
    if found != expected:
        raise DensebenchError(
            f"{file} was trained as {found['method']} + {found['backbone']} "
            f"(experiment {trained.get('experiment')}), but the config is {expected['method']} + "
            f"{expected['backbone']}. Name the checkpoint of this config, or test with its own config and --backbone."
        )


def model_cost(recipe: Recipe) -> dict[str, Any]:
    """Parameters and multiply-adds at the published input size, from the meta device."""
    # Here, because torch's counter brings triton, and the first image need not wait for it.
    from densebench.cost.count import build_for_counting, flops_by_part, flops_entries, params_m, published_shape

    shape = published_shape(recipe.description, recipe.identity.mini)
    with captured_imports():
        model = build_for_counting(recipe.config.model)
        flops = flops_entries(recipe.config.model, model, shape, flops_by_part(model, shape))
    return {"params_m": params_m(model), **flops}


def load_into(runner: Runner, content: Mapping[str, Any], file: Path, allow_partial: bool) -> LoadReport:
    """Load a whole segmentor from a checkpoint of ours or of the papers' repositories.

    Raises:
        DensebenchError: it does not fill the model.
    """
    model = unwrapped(runner)
    report = load_state(model, *for_model(state_dict_of(content), model.state_dict()))
    require_match(report, file, "the model", min_percent=100.0, allow_partial=allow_partial)
    runner.logger.info(f"Loaded {file}: {report.summary()}\n{report.details()}")
    return report


def unwrapped(runner: Runner) -> nn.Module:
    """The segmentor or detector itself, out of the multi-scale wrapper and of the distributed one."""
    model: nn.Module = runner.model
    while isinstance(getattr(model, "module", None), nn.Module):
        model = model.get_submodule("module")
    return model


def precision(model: nn.Module, amp: bool) -> AbstractContextManager[None]:
    """--amp: the network's parts in low precision, all else in fp32."""
    if not amp:
        return nullcontext()
    return low_precision(model, amp_dtype(next(model.parameters()).device.type))


def write_per_image(path: Path, per_image: Mapping[str, Any], root: Path, classes: Sequence[str]) -> None:
    """Write a metric's `per_image` arrays; what they are is told by the metric (ExactIoU, ExactCoco).

    `images` are names relative to the data root, so that records of different machines pair up.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                images=np.array([Path(image).relative_to(root).as_posix() for image in per_image["images"]]),
                classes=np.array(classes),
                **{key: values for key, values in per_image.items() if key != "images"},
            )
    except OSError as error:
        raise DensebenchError(f"{path} cannot be written ({error.strerror}); make room and test again.") from error


class RunCostHook(Hook):
    """Speed and memory of the run itself: images per second after the first, loading and counting included."""

    def __init__(self) -> None:
        self._start_seconds = 0.0
        self._images = 0

    def before_test(self, runner: Runner) -> None:
        """Forget earlier peaks."""
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        """Count images; the clock starts when the first batch, which warms everything up, is done."""
        if batch_idx == 0:
            self._start_seconds = time.perf_counter()
        else:
            self._images += len(outputs or ())

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Stop the clock."""
        self._seconds = time.perf_counter() - self._start_seconds

    def measured(self, amp: bool) -> dict[str, Any]:
        """The cost entries that a run knows; the peak of the process is no peak of the model and stands apart."""
        on_cuda = torch.cuda.is_available()
        dtype = ("float16" if on_cuda else "bfloat16") if amp else "float32"
        return {
            "fps": self._images / self._seconds if self._images else None,
            "peak_memory_mb": torch.cuda.max_memory_allocated() / 2**20 if on_cuda else None,
            # ru_maxrss counts KiB on Linux.
            "process_peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "device": device_name(torch.device("cuda" if on_cuda else "cpu")),
            "dtype": dtype,
        }

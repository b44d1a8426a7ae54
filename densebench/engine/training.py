"""A training run, from options to checkpoints."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from rich.console import Console

from densebench.building import building
from densebench.data.dataset import require_labelled_pixels
from densebench.engine.console import ProgressHook, captured_imports, console, quiet_logger
from densebench.engine.resuming import Start, find_start
from densebench.engine.time_share import TimeShareHook, tell_time
from densebench.engine.work_dir import remove_partial_files
from densebench.errors import DensebenchError
from densebench.recipe import Recipe, RunOptions, require_writable, resolve
from densebench.schedule import describe
from densebench.tasks import task_of

CONFIG_FILE = "config.py"


@dataclass(frozen=True)
class TrainingResult:
    """Where a training left its things; no checkpoint where an override turned saving off."""

    work_dir: Path
    checkpoint: Path | None


def train(options: RunOptions, resume: bool = False, launcher: str = "none") -> TrainingResult:
    """Train a recipe; the resolved config, log and checkpoints go to the work dir.

    Raises:
        DensebenchError: anything in the recipe, the data, the weights or the work dir that does not fit.
    """
    screen, timing = console(), TimeShareHook()
    with captured_imports() as notices:
        import densebench.registration  # noqa: F401
        from densebench.engine.runner import SafeRunner
    recipe = resolve(options)
    if resume and options.mini:
        raise DensebenchError("--resume needs the optimizer's state, which a --mini run does not save; train it anew.")
    require_images_for_norms(recipe)
    if recipe.dataset is not None:
        for split in ("train", "val"):
            require_labelled_pixels(recipe.dataset.layout, recipe.dataset.root, split)
    announce(recipe, screen)
    start = find_start(recipe.work_dir, recipe.identity) if resume else None
    if start is not None:
        screen.print(f"  resuming from iteration {start.iteration} of {start.file}")
    elif resume:
        screen.print(f"  nothing to resume in {recipe.work_dir} yet: starting from the beginning")
    if start is None:
        # Before the model is built: what cannot be had should be said at once.
        recipe.starting_weights.local_file()
    require_writable(recipe.work_dir)

    recipe.config.launcher = launcher
    with captured_imports() as building:
        runner = SafeRunner.from_cfg(resumed(recipe.config, start))
    quiet_logger(runner.logger)
    runner.logger.info("notices while importing and building:\n%s%s", notices.getvalue(), building.getvalue())
    if runner.rank == 0:
        remove_partial_files(recipe.work_dir)
        recipe.config.dump(recipe.work_dir / CONFIG_FILE)
    interval = recipe.config.default_hooks.logger.interval
    runner.register_hook(ProgressHook(screen, interval, "iterations", task_of(recipe.identity.method).result_line))
    runner.register_hook(timing)
    runner.train()
    tell_time(timing.spent(), screen, runner.logger)
    checkpoint = written_checkpoint(runner, recipe.work_dir) or (start.file if start is not None else None)
    screen.print(f"Checkpoint: {checkpoint or 'none was saved'}")
    return TrainingResult(recipe.work_dir, checkpoint)


def resumed(config: Config, start: Start | None) -> Config:
    """The config that goes on at `start`; as it is without one."""
    if start is None:
        return config
    config = copy.deepcopy(config)
    config.resume, config.load_from = True, str(start.file)
    config.randomness.seed = start.seed  # before the sampler is built, which keeps the order of the images
    return config


def written_checkpoint(runner: Any, work_dir: Path) -> Path | None:
    """The last checkpoint that this run wrote, whatever else lies in the work dir."""
    from mmengine.hooks import CheckpointHook

    files = [hook.last_ckpt for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    return next((work_dir / Path(file).name for file in files if file is not None), None)


def require_images_for_norms(recipe: Recipe) -> None:
    """Refuse one image a process where the head has batch norms of its own on a pooled map of one pixel.

    Raises:
        DensebenchError: UperNet's pyramid pooling (scale 1) under BN with one image at once.
    """
    norm = recipe.config.model.get("decode_head", {}).get("norm_cfg", {}).get("type")
    if norm == "BN" and recipe.identity.images_per_gpu == 1:
        raise DensebenchError(
            "One image a process is too few: the head's batch norm sees a single value per channel in its pooled "
            "map of 1x1. Give each process two images at least (--images-per-gpu 2, or fewer processes); on several "
            "GPUs the norms are synchronized and one does."
        )


def announce(recipe: Recipe, screen: Console) -> None:
    """Say in a few lines what is about to run."""
    identity = recipe.identity
    loop = recipe.config.train_cfg
    length = f"{loop.max_epochs} epochs" if "max_epochs" in loop else f"{loop.max_iters} iterations"
    batch = f"{identity.total_batch} images a step, {identity.images_per_gpu} a process at once"
    screen.print(f"{identity.experiment}: {identity.method} + {identity.backbone} on {identity.dataset}")
    screen.print(f"  {length}, {batch}; starting weights: {identity.pretrain}")
    if recipe.dataset is not None:
        screen.print(f"  data: {recipe.dataset.root} ({recipe.dataset.num_classes} classes)")
    if recipe.dropped_arguments:
        screen.print(f"  arguments that {identity.backbone} does not know: {', '.join(recipe.dropped_arguments)}")
    screen.print(f"  work dir: {recipe.work_dir}")


def dry_run(options: RunOptions) -> None:
    """Print the schedule, what it will cost, the load report and the learning rate of every layer; write nothing.

    The time comes from a few steps on random images.

    Raises:
        DensebenchError: as `train`.
    """
    screen = console()
    with captured_imports():
        import densebench.registration  # noqa: F401
        from densebench.cost.schedule_cost import predicted_memory_line, predicted_time_line
        from densebench.engine.hooks import load_starting_weights
        from densebench.engine.layer_decay import parameter_settings
    from mmengine.registry import MODELS

    recipe = resolve(options)
    announce(recipe, screen)
    schedule, optimizer = recipe.description["schedule"], recipe.config.optim_wrapper.optimizer
    screen.print(
        f"Schedule: {optimizer.type}, lr {optimizer.lr:g}, weight decay {optimizer.weight_decay:g}; "
        f"{describe(schedule)}"
    )
    with captured_imports():
        costs = (predicted_memory_line(recipe, options.amp), predicted_time_line(recipe, options.amp))
    for line in costs:
        screen.print(line)
    with building(recipe.config.default_scope), captured_imports():
        model = MODELS.build(recipe.config.model)
    if recipe.starting_weights.name != "none":
        report = load_starting_weights(model.backbone, recipe.starting_weights, options.allow_partial)
        screen.print(f"Starting weights {recipe.starting_weights.name}: {report.summary()}")
        screen.print(report.details())
    settings = parameter_settings(model, optimizer.weight_decay, recipe.config.optim_wrapper.paramwise_cfg)
    width = max(len(setting.name) for setting in settings)
    screen.print(f"{'parameter':{width}}  depth  lr scale  lr         weight decay")
    for setting in settings:
        screen.print(
            f"{setting.name:{width}}  {setting.depth:5d}  {setting.lr_scale:8.5f}  "
            f"{optimizer.lr * setting.lr_scale:.3e}  {setting.weight_decay:g}"
        )

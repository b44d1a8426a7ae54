"""From a config file to a config that runs: backbone swapped, sizes shrunk, channels and classes filled in.

A file in configs/ describes a recipe: `method`, `dataset`, `total_batch`, `schedule`, `model`, `optim_wrapper`,
`pretrained`, the data and both test protocols. `resolve` turns it into a config that a plain mmengine Runner takes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from densebench import schedule
from densebench.assembly import assemble
from densebench.data.dataset import Dataset, locate
from densebench.description import CONFIG_FOLDER, find_config, read_description
from densebench.engine.console import captured_imports
from densebench.errors import DensebenchError
from densebench.miniature import shrink
from densebench.overrides import apply_late, overridden, require_buildable, split_overrides
from densebench.starting_weights import TIMM_TWINS, WAYS_OUT, StartingWeights
from densebench.tasks import task_of

__all__ = ["CONFIG_FOLDER", "Identity", "Recipe", "RunOptions", "find_config", "require_writable", "resolve"]

# Recipes of one's own data have no published weights to start from.
DATASETS_FROM_NOTHING = ("folder",)


@dataclass(frozen=True)
class RunOptions:
    """What the command line says about a run; field names are the options' names."""

    config: str
    backbone: str | None = None
    pretrained: str | None = None
    allow_partial: bool = False
    data_root: str | None = None
    mini: bool = False
    mini_iters: int | None = None
    work_dir: str | None = None
    amp: bool = False
    seed: int | None = None
    images_per_gpu: int | None = None
    cfg_options: dict[str, Any] = field(default_factory=dict)
    world_size: int = 1


@dataclass(frozen=True)
class Identity:
    """What a run is, as its checkpoints and records tell it."""

    experiment: str
    backbone: str
    method: str
    dataset: str
    pretrain: str
    schedule: str
    train_size: str  # of images in training, as published tables have it: "512x512", "480-800x1333"
    mini: bool
    total_batch: int
    images_per_gpu: int
    seed: int | None


@dataclass(frozen=True)
class Recipe:
    """A resolved recipe.

    `description` is the recipe as its file states it, after all options; `config` runs under mmengine.
    """

    identity: Identity
    description: dict[str, Any]
    config: Config
    dataset: Dataset | None
    starting_weights: StartingWeights
    dropped_arguments: tuple[str, ...]
    work_dir: Path


def resolve(options: RunOptions, protocol: str = "test-ss", with_data: bool = True) -> Recipe:
    """Everything a run needs, checked; `protocol` is the one that the test loop of the config follows.

    Without data (for costs alone) the data set need not be there.

    Raises:
        DensebenchError: an unknown config or backbone, missing data, a batch that does not divide, ...
    """
    path = find_config(options.config)
    description = read_description(path)
    task = task_of(description["method"])
    with captured_imports():
        task.register()
    if options.mini:
        description = shrink(description, task.shrink_sizes(description), options.mini_iters)
    # After the shrinking: what is said on the command line holds for a miniature too.
    early, late = split_overrides(description, options.cfg_options)
    description = overridden(description, early)
    if protocol.replace("-", "_") not in description:
        raise DensebenchError(f"{path} states no {protocol} protocol; test it at a single scale, without --aug-test.")
    dropped: tuple[str, ...] = ()
    own_backbone = backbone_name_of(description)
    if options.backbone is not None:
        description, dropped = swap_backbone(description, options.backbone)
    weights = choose_weights(description, options, swapped=backbone_name_of(description) != own_backbone)
    batch = schedule.plan_batch(description["total_batch"], options.world_size, options.images_per_gpu)
    dataset = locate(description, options.data_root, options.mini) if with_data else None
    identity = Identity(
        experiment=experiment_name(path.stem, options),
        backbone=backbone_name_of(description),
        method=description["method"],
        dataset=description["dataset"],
        pretrain=weights.name,
        schedule=schedule_label(description["schedule"], options),
        train_size=task.train_size(description),
        mini=options.mini,
        total_batch=batch.total_batch,
        images_per_gpu=batch.images_per_gpu,
        seed=options.seed,
    )
    work_dir = Path(options.work_dir or Path("work_dirs") / identity.experiment)
    config = assemble(
        description,
        dataset=dataset,
        batch=batch,
        weights=weights,
        protocol=protocol,
        identity=asdict(identity),
        work_dir=work_dir,
        amp=options.amp,
        allow_partial=options.allow_partial,
    )
    apply_late(config, late, description, with_data)
    if dataset is not None or description["num_classes"] is not None:
        require_buildable(config, options.cfg_options)
    return Recipe(identity, description, config, dataset, weights, dropped, work_dir)


def schedule_label(settings: Mapping[str, Any], options: RunOptions) -> str:
    """The recipe's name of its schedule; its length instead where a miniature or an override changed it."""
    if not options.mini and not any(key.split(".")[0] == "schedule" for key in options.cfg_options):
        name: str = settings["name"]
        return name
    return f"{settings['iterations']}it" if "iterations" in settings else f"{settings['epochs']}ep"


def backbone_name_of(description: Mapping[str, Any]) -> str:
    """The name under which the recipe's backbone is reported."""
    import backbones

    return backbones.backbone_name(description["model"]["backbone"])


def swap_backbone(description: dict[str, Any], name: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The recipe with another backbone, and the arguments of the old one that the new one does not know.

    Raises:
        DensebenchError: an unknown name.
    """
    import backbones
    from backbones.timm_backbone import timm_accepts

    try:
        new = backbones.backbone_config(name)
        known = backbones.accepted_arguments(name)
        old = {key: value for key, value in description["model"]["backbone"].items() if key != "type"}
        if new["type"] == "TimmBackbone":
            kept = {
                key: value
                for key, value in old.items()
                if key == "drop_path_rate" and timm_accepts(new["model_name"], key, value)
            }
        else:
            kept = {key: value for key, value in old.items() if known is None or key in known}
    except backbones.UnknownBackboneError as error:
        raise DensebenchError(str(error)) from error
    model = {**description["model"], "backbone": {**new, **kept}}
    return {**description, "model": model}, tuple(key for key in old if key not in kept)


def choose_weights(description: Mapping[str, Any], options: RunOptions, swapped: bool) -> StartingWeights:
    """The starting weights: --pretrained, else none for miniatures and own data, else the recipe's.

    A timm backbone without --pretrained starts from timm's weights.

    Raises:
        DensebenchError: another backbone than the recipe's, and no word on its weights.
    """
    choice = options.pretrained
    name = backbone_name_of(description)
    timm_name = name.removeprefix("timm/") if name.startswith("timm/") else None
    if choice is None:
        if options.mini or (description["dataset"] in DATASETS_FROM_NOTHING):
            choice = "none"
        elif timm_name is not None:
            choice = "timm"
    if choice == "none":
        return StartingWeights(name="none")
    if choice == "timm":
        twin = timm_name or TIMM_TWINS.get(name)
        if twin is None:
            raise DensebenchError(
                f"timm has no weights for the backbone '{name}'. Name a timm/ backbone, a file (--pretrained FILE), "
                f"or one of: {', '.join(TIMM_TWINS)}."
            )
        return StartingWeights(name=f"timm:{_timm_tag(twin)}", timm_model=twin)
    if choice is not None:
        return StartingWeights(name=f"file:{Path(choice).name}", file=Path(choice).expanduser())
    published = description.get("pretrained")
    if swapped or published is None:
        raise DensebenchError(
            f"The recipe names no starting weights for '{name}'"
            + (" (its own belong to the backbone that --backbone replaced)" if swapped else "")
            + f". {WAYS_OUT}."
        )
    return StartingWeights(name=published["name"], url=published["url"], sha256=published["sha256"])


def experiment_name(config_name: str, options: RunOptions) -> str:
    """config name [+ backbone] [+ mini] [+ seedN when given]; it names the work dir."""
    parts = [config_name]
    if options.backbone is not None:
        parts.append(options.backbone.replace("/", "_"))
    if options.mini:
        parts.append("mini")
    if options.seed is not None:
        parts.append(f"seed{options.seed}")
    return "_".join(parts)


def require_writable(folder: Path, option: str = "--work-dir") -> None:
    """Make the folder that `option` names.

    Raises:
        DensebenchError: it cannot be made or written to.
    """
    what = "The work dir" if option == "--work-dir" else option
    probe = folder / f".writable-{os.getpid()}"
    doing = "made"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        doing = "written to"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DensebenchError(f"{what} {folder} cannot be {doing} ({error}); name another with {option}.") from error


def _timm_tag(model_name: str) -> str:
    import timm

    tag: str = timm.models.get_pretrained_cfg(model_name).tag
    return tag

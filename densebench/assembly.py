"""A recipe's description, made into a config that a plain mmengine Runner takes."""

from __future__ import annotations

import copy
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from densebench import schedule
from densebench.building import reason
from densebench.channels import backbone_channels
from densebench.data.dataset import Dataset
from densebench.errors import DensebenchError
from densebench.schedule import BatchPlan
from densebench.starting_weights import StartingWeights
from densebench.tasks import task_of


def assemble(
    description: dict[str, Any],
    *,
    dataset: Dataset | None,
    batch: BatchPlan,
    weights: StartingWeights,
    protocol: str,
    identity: dict[str, Any],
    work_dir: Path,
    amp: bool,
    allow_partial: bool,
) -> Config:
    """The runnable config; without a data set it holds the model alone."""
    task = task_of(description["method"])
    num_classes = dataset.num_classes if dataset is not None else description["num_classes"]
    test_protocol = description[protocol.replace("-", "_")]
    channels = backbone_channels(description["model"]["backbone"])
    try:
        model = task.fill_model(description, channels, num_classes, test_protocol)
    except (LookupError, TypeError, AttributeError) as error:
        raise DensebenchError(
            f"The recipe's model lacks what {description['method']} needs: {reason(error)}. Start from a file in "
            "configs/_base_/methods/."
        ) from error
    if not (torch.cuda.is_available() and batch.world_size > 1):
        model = _without_sync_bn(model)
    resolved: dict[str, Any] = {
        "default_scope": task.scope,
        "custom_imports": {"imports": [task.registration], "allow_failed_imports": False},
        "model": model,
        "densebench": {
            **identity,
            "protocols": {kind: description[kind] for kind in ("test_ss", "test_ms") if kind in description},
        },
        "work_dir": str(work_dir),
    }
    if dataset is None:
        return Config(resolved, format_python_code=False)

    train_loop = schedule.train_loop(description["schedule"], description["val_interval"], batch.accumulation)
    log_interval = _log_interval(train_loop.get("max_iters"))
    test_loader: dict[str, Any] = {
        "batch_size": 1,
        "num_workers": _workers(description["test_dataloader"]["num_workers"]),
        "sampler": {"type": "DefaultSampler", "shuffle": False},
        "dataset": {
            **description["test_dataloader"]["dataset"],
            **dataset.arguments,
            "test_mode": True,
            "pipeline": task.test_pipeline(test_protocol, dataset.num_classes),
        },
    }
    # Validation during training is single-scale always.
    val_loader = copy.deepcopy(test_loader)
    val_loader["dataset"]["pipeline"] = task.test_pipeline(description["test_ss"], dataset.num_classes)
    evaluator = task.evaluator(description, dataset)
    resolved |= {
        "train_dataloader": {
            **_batching(description),
            **description["train_dataloader"],
            "batch_size": batch.images_per_gpu,
            "num_workers": _workers(description["train_dataloader"]["num_workers"]),
            "dataset": {
                **description["train_dataloader"]["dataset"],
                **dataset.arguments,
                "pipeline": task.train_pipeline(description, dataset.num_classes),
            },
        },
        "val_dataloader": val_loader,
        "test_dataloader": test_loader,
        "val_evaluator": evaluator,
        "test_evaluator": evaluator,
        "train_cfg": train_loop,
        "val_cfg": {"type": "ValLoop"},
        "test_cfg": {"type": "TestLoop"},
        "optim_wrapper": _optim_wrapper(description["optim_wrapper"], batch.accumulation, amp),
        "param_scheduler": schedule.param_scheduler(description["schedule"], batch.accumulation),
        "custom_hooks": [
            {"type": "StartingWeightsHook", "weights": _plain(asdict(weights)), "allow_partial": allow_partial},
            {"type": "CheckpointIdentityHook", "identity": identity},
            {"type": "RandomStateHook"},
            *copy.deepcopy(task.hooks),
        ],
        "default_hooks": {
            "timer": {"type": "IterTimerHook"},
            "logger": {"type": "LoggerHook", "interval": log_interval, "log_metric_by_epoch": False},
            "param_scheduler": {"type": "ParamSchedulerHook"},
            "checkpoint": {
                "type": "CheckpointHook",
                "by_epoch": train_loop["type"] == "EpochBasedTrainLoop",
                "interval": train_loop["val_interval"],
                "save_optimizer": not identity["mini"],
                "save_param_scheduler": not identity["mini"],
                "max_keep_ckpts": 2,
            },
            "sampler_seed": {"type": "DistSamplerSeedHook"},
        },
        "env_cfg": {
            "cudnn_benchmark": True,
            "mp_cfg": {"mp_start_method": "fork", "opencv_num_threads": 0},
            "dist_cfg": {"backend": "nccl" if torch.cuda.is_available() else "gloo"},
        },
        "visualizer": {
            "type": task.visualizer,
            "vis_backends": [{"type": "LocalVisBackend"}],
            "name": "visualizer",
        },
        "log_processor": {"by_epoch": False, "window_size": log_interval},
        "log_level": "INFO",
        "load_from": None,
        "resume": False,
        "randomness": {"seed": identity["seed"]},
    }
    multi_scale_test = task.multi_scale_test(protocol)
    if multi_scale_test is not None:
        resolved["tta_model"] = multi_scale_test
    return Config(resolved, format_python_code=False)


def _without_sync_bn(node: Any) -> Any:
    # SyncBN raises without a process group, and on the CPU even with one; BN computes the same there per process.
    if isinstance(node, dict):
        node = {key: _without_sync_bn(value) for key, value in node.items()}
        return {**node, "type": "BN"} if node.get("type") == "SyncBN" else node
    if isinstance(node, (list, tuple)):
        return type(node)(_without_sync_bn(value) for value in node)
    return node


def _batching(description: dict[str, Any]) -> dict[str, Any]:
    """An endless sampler for a schedule in iterations, and for one in epochs one that ends with the epoch.

    Incomplete batches are dropped, but by a recipe's own batch sampler.
    """
    sampler = "DefaultSampler" if "epochs" in description["schedule"] else "InfiniteSampler"
    drop_last = {} if "batch_sampler" in description["train_dataloader"] else {"drop_last": True}
    return {"sampler": {"type": sampler, "shuffle": True}, **drop_last}


def _optim_wrapper(wrapper: dict[str, Any], accumulation: int, amp: bool) -> dict[str, Any]:
    wrapper = {**wrapper, "accumulative_counts": accumulation}
    if amp and torch.cuda.is_available():
        # The published recipes' fp16 with a dynamic loss scale.
        wrapper |= {"type": "AmpOptimWrapper", "loss_scale": "dynamic", "dtype": "float16"}
    elif amp:
        wrapper |= {"type": "Bfloat16OptimWrapper"}
    return wrapper


def _workers(wanted: int) -> int:
    return min(wanted, os.cpu_count() or 1)


def _log_interval(iterations: int | None) -> int:
    """In iterations; a schedule in epochs does not know their number."""
    return 50 if iterations is None or iterations > 1000 else max(iterations // 10, 1)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}

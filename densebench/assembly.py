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
from densebench.channels import backbone_channels
from densebench.data import pipelines
from densebench.data.dataset import Dataset
from densebench.schedule import BatchPlan
from densebench.starting_weights import StartingWeights

# Importing this one module registers everything that a resolved config names.
REGISTRATION = "densebench.registration"


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
    num_classes = dataset.num_classes if dataset is not None else description["num_classes"]
    test_protocol = description[protocol.replace("-", "_")]
    model = fill_model(description, num_classes, test_protocol)
    resolved: dict[str, Any] = {
        "default_scope": "mmseg",
        "custom_imports": {"imports": [REGISTRATION], "allow_failed_imports": False},
        "model": model,
        "densebench": {**identity, "protocols": {kind: description[kind] for kind in ("test_ss", "test_ms")}},
        "work_dir": str(work_dir),
    }
    if dataset is None:
        return Config(resolved)

    iterations = description["schedule"]["iterations"] * batch.accumulation
    interval = min(description["val_interval"] * batch.accumulation, iterations)
    labels = {"type": "LoadCheckedLabels", "num_classes": num_classes}
    test_loader: dict[str, Any] = {
        "batch_size": 1,
        "num_workers": _workers(description["test_dataloader"]["num_workers"]),
        "sampler": {"type": "DefaultSampler", "shuffle": False},
        "dataset": {
            **description["test_dataloader"]["dataset"],
            **dataset.arguments,
            "test_mode": True,
            "pipeline": pipelines.test_pipeline(test_protocol, labels),
        },
    }
    # Validation during training is single-scale always.
    val_loader = copy.deepcopy(test_loader)
    val_loader["dataset"]["pipeline"] = pipelines.test_pipeline(description["test_ss"], labels)
    evaluator = {"type": "ExactIoU", "num_classes": num_classes}
    resolved |= {
        "train_dataloader": {
            **description["train_dataloader"],
            "batch_size": batch.images_per_gpu,
            "num_workers": _workers(description["train_dataloader"]["num_workers"]),
            "drop_last": True,
            "dataset": {
                **description["train_dataloader"]["dataset"],
                **dataset.arguments,
                "pipeline": pipelines.train_pipeline(description, labels),
            },
        },
        "val_dataloader": val_loader,
        "test_dataloader": test_loader,
        "val_evaluator": evaluator,
        "test_evaluator": evaluator,
        "train_cfg": {"type": "IterBasedTrainLoop", "max_iters": iterations, "val_interval": interval},
        "val_cfg": {"type": "ValLoop"},
        "test_cfg": {"type": "TestLoop", "fp16": amp},
        "optim_wrapper": _optim_wrapper(description["optim_wrapper"], batch.accumulation, amp),
        "param_scheduler": schedule.param_scheduler(description["schedule"], batch.accumulation),
        "custom_hooks": [
            {"type": "StartingWeightsHook", "weights": _plain(asdict(weights)), "allow_partial": allow_partial},
            {"type": "CheckpointIdentityHook", "identity": identity},
        ],
        "default_hooks": {
            "timer": {"type": "IterTimerHook"},
            "logger": {"type": "LoggerHook", "interval": _log_interval(iterations), "log_metric_by_epoch": False},
            "param_scheduler": {"type": "ParamSchedulerHook"},
            "checkpoint": {
                "type": "CheckpointHook",
                "by_epoch": False,
                "interval": interval,
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
            "type": "SegLocalVisualizer",
            "vis_backends": [{"type": "LocalVisBackend"}],
            "name": "visualizer",
        },
        "log_processor": {"by_epoch": False, "window_size": _log_interval(iterations)},
        "log_level": "INFO",
        "load_from": None,
        "resume": False,
        "randomness": {"seed": identity["seed"]},
    }
    if description["method"] in ("upernet", "deeplabv3plus") and protocol == "test-ms":
        resolved["tta_model"] = {"type": "StreamingMultiScaleTest"}
    return Config(resolved)


def fill_model(description: dict[str, Any], num_classes: int | None, test_protocol: dict[str, Any]) -> dict[str, Any]:
    """The model with input channels, class count, crop size and test mode in place."""
    model: dict[str, Any] = copy.deepcopy(description["model"])
    channels = backbone_channels(model["backbone"])
    for head in (model["decode_head"], model.get("auxiliary_head")):
        if head is None:
            continue
        indices = head["in_index"]
        head["in_channels"] = (
            [channels[index] for index in indices] if isinstance(indices, (list, tuple)) else channels[indices]
        )
        head["num_classes"] = num_classes
    model["data_preprocessor"]["size"] = tuple(description["crop_size"])
    model["test_cfg"] = {key: test_protocol[key] for key in ("mode", "crop_size", "stride") if key in test_protocol}
    if not (torch.cuda.is_available() and int(os.environ.get("WORLD_SIZE", "1")) > 1):
        model = _without_sync_bn(model)
    return model


def _without_sync_bn(node: Any) -> Any:
    # SyncBN raises without a process group, and on the CPU even with one; BN computes the same there per process.
    if isinstance(node, dict):
        node = {key: _without_sync_bn(value) for key, value in node.items()}
        return {**node, "type": "BN"} if node.get("type") == "SyncBN" else node
    if isinstance(node, (list, tuple)):
        return type(node)(_without_sync_bn(value) for value in node)
    return node


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


def _log_interval(iterations: int) -> int:
    return 50 if iterations > 1000 else max(iterations // 10, 1)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}

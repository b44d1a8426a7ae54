"""Hooks of a training run that work under a plain mmengine Runner as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mmengine
import numpy as np
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from backbones.timm_backbone import TimmBackbone
from densebench.checkpoint import (
    MIN_MATCHED_PERCENT,
    LoadReport,
    StateDict,
    load_state,
    read_checkpoint,
    require_match,
    state_dict_of,
)
from densebench.engine.console import console
from densebench.engine.work_dir import MATCHED_PERCENT
from densebench.errors import DensebenchError
from densebench.key_layouts import for_backbone
from densebench.starting_weights import StartingWeights

LOAD_REPORT_FILE = "load_report.json"


@HOOKS.register_module()
class StartingWeightsHook(Hook):
    """Loads the starting weights into the backbone before the first iteration, and writes the load report.

    A resumed run has its weights already. Args: `weights`, the fields of `StartingWeights`; `allow_partial`, accept a
    file that fills less than 90 % of the backbone.
    """

    def __init__(self, weights: dict[str, Any], allow_partial: bool = False) -> None:
        file = weights.get("file")
        self.weights = StartingWeights(**{**weights, "file": Path(file) if file else None})
        self.allow_partial = allow_partial

    def before_train(self, runner: Runner) -> None:
        """Load, report, and refuse what does not belong to this backbone."""
        if runner.iter > 0 or self.weights.name == "none":
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        report = load_starting_weights(model.backbone, self.weights, self.allow_partial)
        runner.logger.info(f"Starting weights {self.weights.name}: {report.summary()}\n{report.details()}")
        console().print(f"  starting weights {self.weights.name}: {report.summary()}")
        runner.message_hub.update_info(MATCHED_PERCENT, report.matched_percent)
        if runner.rank == 0:
            mmengine.dump(
                {
                    "pretrain": self.weights.name,
                    "layout": report.layout,
                    "matched_percent": report.matched_percent,
                    "matched": len(report.matched),
                    "missing": report.missing,
                    "unexpected": report.unexpected,
                    "other_shape": report.other_shape,
                },
                Path(runner.work_dir) / LOAD_REPORT_FILE,
                indent=1,
            )


@HOOKS.register_module()
class CheckpointIdentityHook(Hook):
    """Puts into a checkpoint what run it comes from, and keeps it free of pickled objects.

    mmengine's own checkpoints hold its message hub, whose log buffers only unpickling can read; the hub's plain
    values are kept, the buffers (a window of the last losses) are not.
    """

    priority = "VERY_LOW"

    def __init__(self, identity: dict[str, Any]) -> None:
        self.identity = dict(identity)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Called with the checkpoint about to be written."""
        # numpy's scalars pass for numbers, but only unpickling reads them.
        values = {
            key: value.item() if isinstance(value, np.generic) else value
            for key, value in checkpoint["message_hub"]["runtime_info"].items()
        }
        info = {key: value for key, value in values.items() if _is_plain(value)}
        checkpoint["message_hub"] = {
            "log_scalars": {},
            "runtime_info": info,
            "resumed_keys": dict.fromkeys(info, True),
        }
        checkpoint["meta"]["densebench"] = {**self.identity, MATCHED_PERCENT: info.get(MATCHED_PERCENT)}


def load_starting_weights(backbone: Any, weights: StartingWeights, allow_partial: bool) -> LoadReport:
    """Load starting weights into a backbone.

    Raises:
        DensebenchError: they cannot be had or belong to another model.
    """
    if weights.timm_model is not None:
        state, source = _timm_state(weights.timm_model), f"timm's weights of {weights.timm_model}"
        if isinstance(backbone, TimmBackbone):  # which keeps the model whole, under `model`
            state = {f"model.{name}": value for name, value in state.items()}
    else:
        file = weights.local_file()
        assert file is not None
        state, source = state_dict_of(read_checkpoint(file)), str(file)
    report = load_state(backbone, *for_backbone(state, backbone.state_dict()))
    require_match(report, source, "the backbone", MIN_MATCHED_PERCENT, allow_partial)
    return report


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, (str, int, float, bool, type(None)))


def _timm_state(model_name: str) -> StateDict:
    import timm

    try:
        model = timm.create_model(model_name, pretrained=True, num_classes=0)
    except (RuntimeError, OSError, ValueError) as error:
        raise DensebenchError(
            f"timm's weights of {model_name} cannot be had ({error}). They come from the Hugging Face hub; ways out: "
            "--pretrained FILE with a file that you have, --pretrained none, or --mini."
        ) from error
    state: StateDict = model.state_dict()
    return state

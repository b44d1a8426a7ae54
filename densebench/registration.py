"""Importing this module registers all that a resolved config names: operators, backbones, data, engine, evaluation."""

from __future__ import annotations

from densebench import lazy_packages, lazy_registries, mmcv_ops

# Before mmdet and mmseg are imported: they load all of their parts, and mmcv's operators.
lazy_packages.install()
mmcv_ops.install()
lazy_registries.install()

import mmseg.models  # noqa: E402

import backbones  # noqa: E402
import densebench.data.folder  # noqa: E402
import densebench.data.loading  # noqa: E402
import densebench.engine.amp  # noqa: E402
import densebench.engine.hooks  # noqa: E402
import densebench.engine.layer_decay  # noqa: E402
import densebench.engine.random_state  # noqa: E402
import densebench.evaluation.iou  # noqa: E402
import densebench.evaluation.multi_scale  # noqa: E402
import densebench.heads.aspp_head  # noqa: E402
import densebench.heads.fcn_head  # noqa: E402
import densebench.heads.uper_head  # noqa: E402

__all__ = ["backbones", "densebench", "mmseg"]

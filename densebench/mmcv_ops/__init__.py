"""The mmcv operators that densebench needs, on torchvision's kernels, when mmcv has none compiled.

mmdet and mmseg call mmcv's operators, which mmcv looks up in a compiled module `mmcv._ext`. The package index
ships mmcv without it, and `import mmdet.models` fails. `install()` puts a module of that name in its place.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Literal, NoReturn

from densebench.errors import DensebenchError

EXTENSION = "mmcv._ext"


def install() -> None:
    """Makes `mmcv.ops` importable: registers our operators as `mmcv._ext` unless a compiled one is there.

    Call it before mmdet or mmseg is imported: they bind substitutes to the operators that they cannot import.
    A compiled `mmcv._ext` is left alone and a second call does nothing; `operator_source()` tells which is
    used.
    """
    if _extension_exists():
        return
    loader = _OperatorLoader()
    spec = importlib.machinery.ModuleSpec(EXTENSION, loader, origin=__name__)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules[EXTENSION] = module


def operator_source() -> Literal["compiled", "torchvision"]:
    """Whether `mmcv.ops` runs mmcv's compiled operators or ours on torchvision's kernels.

    Raises:
        DensebenchError: if mmcv has no operators yet, neither compiled nor by `install()`.
    """
    if isinstance(sys.modules.get(EXTENSION), _OperatorModule):
        return "torchvision"
    if not _extension_exists():
        raise DensebenchError(
            f"mmcv has no operators: expected a module {EXTENSION}, found none. "
            "Call densebench.mmcv_ops.install() before mmdet or mmseg is imported."
        )
    return "compiled"


def _extension_exists() -> bool:
    """Whether `import mmcv._ext` works: it is loaded, ours included, or it can be."""
    return EXTENSION in sys.modules or importlib.util.find_spec(EXTENSION) is not None


class _OperatorModule(ModuleType):
    """`mmcv._ext` with a part of its operators; every other operator is an attribute that raises when called.

    mmcv asserts on import that all of its operators are attributes, used or not.
    """

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name.startswith("_"):  # Python's own protocols ask for __path__, __wrapped__ and the like
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

        def missing_operator(*args: object, **kwargs: object) -> NoReturn:
            provided = ", ".join(sorted(key for key in vars(self) if not key.startswith("_")))
            raise DensebenchError(
                f"mmcv's operator {name!r} is not available: this mmcv has no compiled operators, and "
                f"densebench provides only a subset of them, on torchvision's kernels: {provided}. "
                "Install an mmcv that is compiled with its operators to use it."
            )

        return missing_operator


class _OperatorLoader(importlib.abc.Loader):
    """Creates and fills the module; pkgutil.find_loader, by which mmcv looks for its operators, finds it."""

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _OperatorModule(spec.name, doc="mmcv's operators on torchvision's kernels, by densebench.")

    def exec_module(self, module: ModuleType) -> None:
        # Here, because these files import torch, and importing this package should cost nothing.
        from densebench.mmcv_ops import (
            build_info,
            deformable_convolution,
            focal_loss,
            region_pooling,
            suppression,
        )

        for operator in (
            build_info.get_compiler_version,
            build_info.get_compiling_cuda_version,
            deformable_convolution.deform_conv_forward,
            deformable_convolution.deform_conv_backward_input,
            deformable_convolution.deform_conv_backward_parameters,
            deformable_convolution.modulated_deform_conv_forward,
            deformable_convolution.modulated_deform_conv_backward,
            focal_loss.sigmoid_focal_loss_forward,
            focal_loss.sigmoid_focal_loss_backward,
            region_pooling.roi_align_forward,
            region_pooling.roi_align_backward,
            region_pooling.roi_pool_forward,
            region_pooling.roi_pool_backward,
            suppression.nms,
            suppression.softnms,
        ):
            setattr(module, operator.__name__, operator)

"""Reading checkpoints safely, and saying how much of a model they fill."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from densebench.errors import DensebenchError

StateDict = dict[str, Tensor]

# Under this share of the backbone's parameters the file most likely belongs to another model.
MIN_MATCHED_PERCENT = 90.0
WRAPPERS = ("state_dict", "model", "model_ema", "module")
PREFIXES = ("module.", "backbone.", "encoder.")


@dataclass(frozen=True)
class LoadReport:
    """What a checkpoint gave to a model; the percentage counts parameters and buffers by their elements."""

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    other_shape: tuple[str, ...]
    matched_percent: float

    def summary(self) -> str:
        """One line for the console."""
        counts = (
            f"{len(self.matched)} tensors matched ({self.matched_percent:.2f} % of the elements), "
            f"{len(self.missing)} missing, {len(self.unexpected)} unexpected"
        )
        return counts + (f", {len(self.other_shape)} of another shape" if self.other_shape else "")

    def details(self, limit: int = 5) -> str:
        """The first few names of each kind that did not match, a line each kind."""
        kinds = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "of another shape": self.other_shape,
        }
        return "\n".join(
            f"  {kind}: {', '.join(names[:limit])}{', ...' if len(names) > limit else ''}"
            for kind, names in kinds.items()
            if names
        )


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of a `.pth` or `.safetensors` file on the CPU; nothing in it is ever executed.

    A safetensors file comes back as {"state_dict": ...}.

    Raises:
        DensebenchError: no such file, a truncated file, or a pickle that holds more than tensors and plain values.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise DensebenchError(f"No checkpoint at {path}; expected a .pth or .safetensors file.")
    if path.suffix == ".safetensors":
        return {"state_dict": _read_safetensors(path)}
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        objection = re.search(r"(?:GLOBAL|[Uu]nsupported (?:global|class):?(?: GLOBAL)?) ([\w.]+)", str(error))
        if objection:
            raise DensebenchError(
                f"{path} holds pickled objects other than tensors and plain values, so it was not read: "
                "unpickling them could run code. Convert it where it was made, to safetensors or to a file of "
                f"tensors alone. (First of them: {objection.group(1)})"
            ) from error
        raise DensebenchError(_unreadable(path, error)) from error
    except (RuntimeError, EOFError, OSError, ValueError, zipfile.BadZipFile, KeyError) as error:
        raise DensebenchError(_unreadable(path, error)) from error
    if not isinstance(content, dict):
        raise DensebenchError(f"{path} holds a {type(content).__name__}; expected a dictionary of tensors.")
    return content


def state_dict_of(content: Mapping[str, Any]) -> StateDict:
    """The tensors of a checkpoint, out of the wrappers that training codes put around them.

    Raises:
        DensebenchError: there is no dictionary of tensors inside.
    """
    for wrapper in WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            return state_dict_of(content[wrapper])
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise DensebenchError(
            f"The checkpoint holds no tensors; its entries are: {', '.join(map(str, list(content)[:8])) or 'none'}."
        )
    return tensors


def backbone_state(state: StateDict) -> StateDict:
    """The backbone's part of a state dict under the backbone's own names.

    Strips `module.`, and takes only what stands under `backbone.` where there is such a part (downstream
    checkpoints hold heads as well); renames the parameters of mmpretrain's ConvNeXt to the authors' names.
    """
    for prefix in PREFIXES:
        if any(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    return {official_convnext_name(name): value for name, value in state.items()}


def official_convnext_name(name: str) -> str:
    """A parameter name of mmpretrain's ConvNeXt as the authors name it; other names stay as they are."""
    name = re.sub(r"\.depthwise_conv\.", ".dwconv.", name)
    return re.sub(r"\.pointwise_conv([12])\.", r".pwconv\1.", name)


def load_state(module: nn.Module, state: StateDict) -> LoadReport:
    """Copy every tensor that fits by name and shape, and report on the rest."""
    own = module.state_dict()
    other_shape = tuple(name for name in state if name in own and own[name].shape != state[name].shape)
    fitting = {name: value for name, value in state.items() if name in own and name not in other_shape}
    module.load_state_dict(fitting, strict=False)
    total = sum(value.numel() for value in own.values())
    return LoadReport(
        matched=tuple(fitting),
        missing=tuple(name for name in own if name not in fitting and name not in other_shape),
        unexpected=tuple(name for name in state if name not in own),
        other_shape=other_shape,
        matched_percent=100 * sum(own[name].numel() for name in fitting) / max(total, 1),
    )


def require_match(
    report: LoadReport, path: str | Path, model_name: str, min_percent: float, allow_partial: bool
) -> None:
    """Refuse a checkpoint that fills too little of a model.

    Raises:
        DensebenchError: less than `min_percent` matched and `allow_partial` is not set.
    """
    if report.matched_percent >= min_percent or allow_partial:
        return
    raise DensebenchError(
        f"{path} fills {report.matched_percent:.1f} % of {model_name}; at least {min_percent:g} % was expected, so "
        f"it most likely belongs to another model.\n{report.details()}\n"
        "Name the checkpoint of this model, or pass --allow-partial to use what fits."
    )


def _read_safetensors(path: Path) -> StateDict:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise DensebenchError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: Exception) -> str:
    reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return (
        f"{path} ({path.stat().st_size:,} bytes) cannot be read as a checkpoint; it may be truncated or no "
        f"checkpoint at all. Copy or download it again. ({reason})"
    )

"""Reading checkpoints safely, and saying how much of a model they fill."""

from __future__ import annotations

import math
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from densebench.errors import DensebenchError
from densebench.key_layouts import StateDict, is_classifier, official_convnext_name, to_backbone_names

__all__ = [
    "MIN_MATCHED_PERCENT",
    "LoadReport",
    "StateDict",
    "backbone_state",
    "compare",
    "load_state",
    "official_convnext_name",
    "percent",
    "read_checkpoint",
    "require_match",
    "state_dict_of",
    "training_facts",
]

# Under this share of the backbone's parameters, or of the file's, the file most likely belongs to another model.
MIN_MATCHED_PERCENT = 90.0
WRAPPERS = ("state_dict", "model", "model_ema", "module")


@dataclass(frozen=True)
class LoadReport:
    """What a checkpoint gave to a model; percentages count parameters and buffers by their elements.

    `matched_percent` is the share of the model that the file filled, `used_percent` the share of the file, its
    classifier aside, that the model took. `missing` keep their random start: the output norms, for an ImageNet file.
    `unexpected` have no place in the model, the file's classifier among them. `layout` is the one that was recognized.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    other_shape: tuple[str, ...]
    matched_percent: float
    used_percent: float
    layout: str | None = None

    @property
    def classifier(self) -> tuple[str, ...]:
        """Those of `unexpected` that any ImageNet file has: its classifier and the norm before it."""
        return tuple(name for name in self.unexpected if is_classifier(name))

    @property
    def unknown(self) -> tuple[str, ...]:
        """Those of `unexpected` that are none of the classifier."""
        return tuple(name for name in self.unexpected if not is_classifier(name))

    def summary(self) -> str:
        """One line for the console."""
        counts = (
            f"{len(self.matched)} tensors matched ({percent(self.matched_percent, 2)} of the elements), "
            f"{len(self.missing)} new here, {len(self.unknown)} unexpected"
        )
        if self.classifier:
            counts += f", {len(self.classifier)} of the classifier not used"
        if self.other_shape:
            counts += f", {len(self.other_shape)} of another shape"
        return f"{self.layout}: {counts}" if self.layout else counts

    def details(self, limit: int = 5) -> str:
        """The first few names of each kind that did not match, a line each kind."""
        kinds = {
            "new here": self.missing,
            "classifier, not used": self.classifier,
            "unexpected": self.unknown,
            "of another shape": self.other_shape,
        }
        return "\n".join(
            f"  {kind}: {', '.join(names[:limit])}{', ...' if len(names) > limit else ''}"
            for kind, names in kinds.items()
            if names
        )


def read_checkpoint(path: str | Path, lazily: bool = False) -> dict[str, Any]:
    """The content of a `.pth` or `.safetensors` file on the CPU; nothing in it is ever executed.

    A safetensors file comes back as {"state_dict": ...}. Read `lazily`, a tensor stays on the disk until it is used.

    Raises:
        DensebenchError: no such file, a truncated file, or a pickle that holds more than tensors and plain values.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise DensebenchError(f"No checkpoint at {path}; expected a .pth or .safetensors file.")
    if path.suffix == ".safetensors":
        return {"state_dict": _read_safetensors(path)}
    try:
        mmap = lazily and _can_be_mapped(path)
        with warnings.catch_warnings():
            # On pickles of other protocols and on TorchScript, which the error tells as well.
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        zipfile.BadZipFile,
    ) as error:
        raise DensebenchError(_objection(path, error)) from error
    if not isinstance(content, dict):
        raise DensebenchError(f"{path} holds a {type(content).__name__}; expected a dictionary of tensors.")
    return content


def _can_be_mapped(path: Path) -> bool:
    # Torch's newer format, a zip file, unless somebody packed it again.
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())


def state_dict_of(content: Mapping[str, Any]) -> StateDict:
    """The tensors of a checkpoint, out of the wrappers that training codes put around them.

    Raises:
        DensebenchError: there is no dictionary of tensors inside.
    """
    for wrapper in WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            return state_dict_of(content[wrapper])
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if unnamed := [name for name in tensors if not isinstance(name, str)]:
        raise DensebenchError(
            f"The checkpoint's tensors are to be named by texts, as 'stem.weight'; {len(unnamed)} of {len(tensors)} "
            f"are not, the first of them {unnamed[0]!r}. Save the model's state_dict()."
        )
    if not tensors:
        raise DensebenchError(
            f"The checkpoint holds no tensors; its entries are: {', '.join(map(str, list(content)[:8])) or 'none'}."
        )
    return tensors


def training_facts(content: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    """What a checkpoint says of the run that it comes from, as CheckpointIdentityHook wrote it, and `seed`.

    Empty for a checkpoint that says nothing.

    Raises:
        DensebenchError: `meta`, where that stands, is not the dictionary that mmengine and we write.
    """
    meta = content.get("meta")
    own = meta.get("densebench") if isinstance(meta, Mapping) else None
    for name, found in (("meta", meta), ("meta.densebench", own)):
        if found is not None and not isinstance(found, Mapping):
            raise DensebenchError(
                f"{path}: its entry `{name}` is a {type(found).__name__}; a dictionary was expected, or none. Save it "
                "without the entry, or convert it: tools/convert_checkpoint.py."
            )
    return {**(own or {}), "seed": (meta or {}).get("seed")}


def is_plain_pickle(path: Path) -> bool:
    """Whether a file is a whole pickle that torch.save did not write; it is parsed, not run."""
    magic = 0x1950A86A20F9469CFC6C  # what torch.save without a zip archive begins with
    with path.open("rb") as file:
        try:
            return all(argument != magic for _, argument, _ in pickletools.genops(file))
        except (ValueError, EOFError, UnicodeDecodeError):  # no pickle, or one that is cut off
            return False


def backbone_state(state: StateDict) -> StateDict:
    """The backbone's part of a state dict under the backbone's own names, as far as these are the authors'."""
    return to_backbone_names(state)[0]


def load_state(module: nn.Module, state: StateDict, layout: str | None = None) -> LoadReport:
    """Copy every tensor that fits by name and shape, and report on the rest."""
    own = module.state_dict()
    report = compare(own, state, layout)
    module.load_state_dict({name: state[name] for name in report.matched}, strict=False)
    return report


def compare(own: Mapping[str, Tensor], state: StateDict, layout: str | None = None) -> LoadReport:
    """The report on loading `state` into a model whose state dict is `own`; nothing is loaded."""
    other_shape = tuple(name for name in state if name in own and own[name].shape != state[name].shape)
    matched = tuple(name for name in state if name in own and name not in other_shape)
    matched_elements = _elements(own, matched)
    return LoadReport(
        matched=matched,
        missing=tuple(name for name in own if name not in state),
        unexpected=tuple(name for name in state if name not in own),
        other_shape=other_shape,
        matched_percent=100 * matched_elements / max(_elements(own, own), 1),
        used_percent=100
        * matched_elements
        / max(_elements(state, (name for name in state if name in own or not is_classifier(name))), 1),
        layout=layout,
    )


def require_match(
    report: LoadReport,
    path: str | Path,
    model_name: str,
    min_percent: float,
    allow_partial: bool,
    way_out: str = "Name the checkpoint of this model, or pass --allow-partial to use what fits.",
) -> None:
    """Refuse a checkpoint that fills too little of a model, or that a model takes too little of.

    The latter is the case of a deeper model's file, which fills a shallower one whole (ConvNeXt-S into T). It can be
    told where the layout is known, and with it what belongs to the classifier.

    Raises:
        DensebenchError: less than `min_percent` matched, or a tenth of the file has no place, and `allow_partial` is
            not set.
    """
    if allow_partial:
        return
    if report.matched_percent >= min_percent:
        if report.layout is None or report.used_percent >= MIN_MATCHED_PERCENT:
            return
        raise DensebenchError(
            f"{path} fills {model_name}, which takes only {percent(report.used_percent)} of it; at least "
            f"{MIN_MATCHED_PERCENT:g} % was expected, so it most likely belongs to a larger model.\n"
            f"{report.details()}\n{way_out}"
        )
    raise DensebenchError(
        f"{path} fills {percent(report.matched_percent)} of {model_name}; at least {min_percent:g} % was expected, so "
        f"it most likely belongs to another model.\n{report.details()}\n{way_out}"
    )


def percent(share: float, digits: int = 1) -> str:
    """A percentage rounded down, so that 100 % is said of a whole alone, and less than a bound of what misses it."""
    factor = 10**digits
    return f"{math.floor(share * factor) / factor:.{digits}f} %"


def _read_safetensors(path: Path) -> StateDict:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise DensebenchError(_unreadable(path, error)) from error


def _elements(state: Mapping[str, Tensor], names: Iterable[str]) -> int:
    return sum(state[name].numel() for name in names)


def _objection(path: Path, error: Exception) -> str:
    """Why torch does not read a file: what it holds, or that it is damaged."""
    found = re.search(r"(?:GLOBAL|[Uu]nsupported (?:global|class):?(?: GLOBAL)?) ([\w.]+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and found:
        return (
            f"{path} holds pickled objects other than tensors and plain values, so it was not read: "
            "unpickling them could run code. Convert it where it was made, to safetensors or to a file of "
            f"tensors alone. (First of them: {found.group(1)})"
        )
    if is_plain_pickle(path):
        return (
            f"{path} is a legacy pickle, not a checkpoint as torch.save writes it, and is not read: unpickling "
            "could run code. Convert it to safetensors with a tool that you trust, where it was made."
        )
    return _unreadable(path, error)


def _unreadable(path: Path, error: Exception) -> str:
    # torch's advice, to read with weights_only=False, would run what is in the file.
    lines = [line for line in str(error).splitlines() if line.strip() and "weights_only" not in line]
    reason = f"{type(error).__name__}: {lines[0]}"[:200] if lines else type(error).__name__
    return (
        f"{path} ({path.stat().st_size:,} bytes) cannot be read as a checkpoint; it may be truncated or no "
        f"checkpoint at all. Copy or download it again. ({reason})"
    )

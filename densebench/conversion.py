"""Turning released checkpoints and timm's files into safetensors under our names."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file

import backbones
import densebench
from backbones.timm_backbone import NoPyramidError
from densebench.checkpoint import (
    MIN_MATCHED_PERCENT,
    LoadReport,
    compare,
    read_checkpoint,
    require_match,
    state_dict_of,
)
from densebench.errors import DensebenchError
from densebench.key_layouts import (
    TIMM_PREFIX,
    StateDict,
    for_backbone,
    is_classifier,
    to_backbone_names,
)
from densebench.meta_device import build_on_meta
from densebench.starting_weights import file_sha256
from densebench.whole_files import written_whole

SUFFIX = ".safetensors"
HEADS = ("decode_head.", "auxiliary_head.", "neck.", "rpn_head.", "roi_head.", "bbox_head.")


@dataclass(frozen=True)
class Conversion:
    """What a conversion wrote; `layout` is None where names were kept as they are, `report` without a backbone.

    `left_out` are the classifier's names in the file.
    """

    destination: Path
    num_tensors: int
    layout: str | None
    left_out: tuple[str, ...]
    report: LoadReport | None

    def summary(self) -> str:
        """Some lines for the console."""
        lines = [
            f"Wrote {self.destination}: {self.num_tensors} tensors",
            f"  layout of the source: {self.layout or 'not known, names kept'}",
        ]
        if self.left_out:
            lines.append(f"  classifier, left out: {', '.join(self.left_out)}")
        if self.report is not None:
            lines += [f"  {self.report.summary()}", self.report.details()]
        return "\n".join(line for line in lines if line)


def convert(source: Path, destination: Path, backbone: str | None = None) -> Conversion:
    """Write the tensors of `source` to the new file `destination`, a backbone's under our names and without prefix.

    A segmentor or detector stays whole, each part under its prefix. Tensors keep their number type, and Swin's position
    tables their size until they are loaded. A classifier is left out where the layout tells what belongs to it, but
    for the norm before it, which the isotropic ConvNeXt uses. The header holds the name of the source, its sha256, the
    layout and the version of densebench.

    Args:
        backbone: check the result against the backbone of this name, before anything is written.

    Raises:
        DensebenchError: `destination` is there already or is no `.safetensors`, `source` cannot be read, or it does
            not fit the backbone.
    """
    _require_new(destination)
    state = state_dict_of(read_checkpoint(source))
    own = _state_of(backbone) if backbone is not None else {}
    report = None
    if backbone is not None:
        report = compare(own, *for_backbone(state, own))
        require_match(report, source, backbone, MIN_MATCHED_PERCENT, False, "Name its own backbone, or none.")

    if is_whole_model(state):
        converted, layout = to_model_names(state)
        left_out: tuple[str, ...] = ()
    else:
        converted, layout = to_backbone_names(state, [name.removeprefix(TIMM_PREFIX) for name in own])
        left_out = tuple(
            name for name in converted if layout is not None and is_classifier(name) and not name.startswith("norm.")
        )
        converted = {name: value for name, value in converted.items() if name not in left_out}
    header = {
        "source": source.name,
        "source_sha256": file_sha256(source),
        "layout": layout or "names kept",
        "densebench_version": densebench.__version__,
    }
    _write(converted, header, destination)
    return Conversion(destination, len(converted), layout, left_out, report)


def is_whole_model(names: Collection[str]) -> bool:
    """Whether the names are those of a segmentor or detector: a backbone and heads."""
    plain = [name.removeprefix("module.") for name in names]
    return any(name.startswith("backbone.") for name in plain) and any(name.startswith(HEADS) for name in plain)


def to_model_names(state: StateDict) -> tuple[StateDict, str | None]:
    """`to_backbone_names` for a segmentor or detector, whose other parts keep their names."""
    state = {name.removeprefix("module."): value for name, value in state.items()}
    if any(name.startswith(f"backbone.{TIMM_PREFIX}") for name in state):  # a timm backbone of ours
        return state, None
    renamed, layout = to_backbone_names(state)
    heads = {name: value for name, value in state.items() if not name.startswith("backbone.")}
    return {f"backbone.{name}": value for name, value in renamed.items()} | heads, layout


def _require_new(destination: Path) -> None:
    if destination.suffix != SUFFIX:
        raise DensebenchError(f"DST is to end in {SUFFIX}, found '{destination.name}'.")
    if destination.exists():
        raise DensebenchError(f"{destination} is there already and is not overwritten; name another file or remove it.")


def _state_of(name: str) -> StateDict:
    """The state dict of a backbone, without memory where it can be built so."""
    try:
        backbone, _ = build_on_meta(backbones.backbone_config(name))
    except (backbones.UnknownBackboneError, NoPyramidError) as error:
        raise DensebenchError(str(error)) from error
    state: StateDict = backbone.state_dict()
    return state


def _write(state: StateDict, header: dict[str, str], destination: Path) -> None:
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(destination) as temporary:
            # Tensors may share their memory, or be views; safetensors takes neither.
            save_file({name: value.contiguous().clone() for name, value in state.items()}, temporary, metadata=header)
    except (OSError, SafetensorError) as error:
        raise DensebenchError(f"{destination} cannot be written: {error}") from error

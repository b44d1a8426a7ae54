"""Which entries may be ranked together: those trained and tested under the same conditions on the same images."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from densebench.data.layouts import OFFICIAL_SIZES
from densebench.leaderboard.entries import Entry, Task

# The images of the validation sets that published results are for.
OFFICIAL_NUM_IMAGES = {name: sizes["val"] for name, sizes in OFFICIAL_SIZES.items()}

_LABELS = {
    "task": "task",
    "dataset": "data set",
    "mini": "miniature",
    "num_images": "number of test images",
    "dataset_fingerprint": "data fingerprint",
    "generated_data": "generated images",
    "pretrain_data": "pretraining",
    "schedule": "schedule",
    "train_size": "training size",
    "single_scale": "single-scale test",
    "multi_scale": "multi-scale test",
    "precision": "test precision",
}


@dataclass(frozen=True)
class Conditions:
    """What the rows of a table have in common; `None` is unknown, and does not set rows apart."""

    task: Task
    dataset: str
    mini: bool
    num_images: int | None = None
    dataset_fingerprint: str | None = None
    generated_data: bool | None = None
    pretrain_data: str | None = None
    schedule: str | None = None
    train_size: str | None = None  # as published tables have it: "512x512", "480-800x1333"
    single_scale: str | None = None  # scales, mode, crop and stride of the test
    multi_scale: str | None = None
    precision: str | None = None  # of the test: float32, or less with --amp

    @property
    def field(self) -> tuple[bool, Task, str]:
        """Task and data set; their tables stand together."""
        return self.mini, self.task, self.dataset

    @property
    def is_official(self) -> bool:
        """Whether published results are for the same images."""
        if self.mini or self.generated_data or self.dataset not in OFFICIAL_NUM_IMAGES:
            return False
        return self.num_images in (None, OFFICIAL_NUM_IMAGES[self.dataset])

    def conflicts(self, other: Conditions) -> tuple[str, ...]:
        """What sets the two apart, as text: "schedule 80k, not 160k"."""
        found = []
        for field in fields(self):
            own, theirs = getattr(self, field.name), getattr(other, field.name)
            if own is not None and theirs is not None and own != theirs:
                found.append(f"{_LABELS[field.name]} {_shown(own)}, not {_shown(theirs)}")
        return tuple(found)

    def merged(self, other: Conditions) -> Conditions:
        """With what only the other knows."""
        unknown = {field.name for field in fields(self) if getattr(self, field.name) is None}
        return replace(self, **{name: getattr(other, name) for name in unknown})

    def described(self) -> str:
        """What is known of training and test, in one line."""
        names = ("pretrain_data", "schedule", "train_size", "single_scale", "multi_scale", "precision")
        return "; ".join(f"{_LABELS[name]} {getattr(self, name)}" for name in names if getattr(self, name) is not None)


@dataclass(frozen=True)
class Group:
    """Entries that may be ranked together."""

    conditions: Conditions
    entries: tuple[Entry, ...]


def conditions_of(entry: Entry) -> Conditions:
    """The conditions of one entry."""
    protocols = {record.kind: record.protocol for record in entry.records if record.kind != "benchmark"}
    train_size = next((protocol["train_size"] for protocol in protocols.values() if "train_size" in protocol), None)
    return Conditions(
        task=entry.task,
        dataset=entry.dataset,
        mini=entry.mini,
        num_images=entry.num_images,
        dataset_fingerprint=entry.dataset_fingerprint,
        generated_data=entry.generated_data,
        pretrain_data=pretrain_data(entry.pretrain),
        schedule=entry.schedule,
        train_size=entry.published.crop_or_scale if entry.published else train_size,
        single_scale=_protocol_text(protocols.get("test-ss")),
        multi_scale=_protocol_text(protocols.get("test-ms")),
        precision=entry.precision,
    )


def pretrain_data(name: str | None) -> str | None:
    """The data behind the starting weights; None where it is not known, as of a file of one's own.

    timm's tags end with the chain of their data: `timm:fb_in22k_ft_in1k` is of ImageNet-22K as far as rows compare.
    """
    if name is None or name.startswith("file:"):
        return None
    if not name.startswith("timm:"):
        return name
    sizes = re.findall(r"in(\d+k)", name)
    if "22k" in sizes or "21k" in sizes:
        return "in22k"
    return f"in{sizes[0]}" if sizes else name


def grouped(entries: Iterable[Entry]) -> list[Group]:
    """Groups without conflicts; an entry of which little is known joins the largest group that it fits.

    The result does not depend on the order of the entries.
    """
    groups: list[Group] = []
    for entry in sorted(entries, key=_best_known_first):
        own = conditions_of(entry)
        fitting = [group for group in groups if not own.conflicts(group.conditions)]
        if fitting:
            largest = max(fitting, key=lambda group: len(group.entries))
            index = groups.index(largest)
            groups[index] = Group(largest.conditions.merged(own), (*largest.entries, entry))
        else:
            groups.append(Group(own, (entry,)))
    return groups


def _best_known_first(entry: Entry) -> tuple[object, ...]:
    own = conditions_of(entry)
    unknown = sum(getattr(own, field.name) is None for field in fields(own))
    return unknown, entry.origin, str(own), entry.backbone, entry.experiment or str(entry.published)


def _protocol_text(protocol: Mapping[str, Any] | None) -> str | None:
    if protocol is None:
        return None
    shown = {key: value for key, value in sorted(protocol.items()) if key != "train_size"}
    return ", ".join(f"{key} {_shown(value)}" for key, value in shown.items())


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value, default=str)

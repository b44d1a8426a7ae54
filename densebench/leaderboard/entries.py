"""Entries: what one row of the leaderboard stands for, made from records or from a published result."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from densebench import methods
from densebench.leaderboard.bootstrap import Interval
from densebench.leaderboard.costs import OF_DEVICE, merged_costs
from densebench.leaderboard.uncertainty import Spread, spread
from densebench.results.published import PublishedResult
from densebench.results.records import Record

Origin = Literal["measured", "published", "baseline"]
Task = Literal["segmentation", "detection"]
Key = tuple[object, ...]

BASELINE_NAME = "majority class (baseline)"


@dataclass(frozen=True)
class Figure:
    """A number as it is, and with the digits of its source where it was read from print."""

    value: float
    printed: str | None = None


@dataclass(frozen=True)
class Entry:
    """One row: a trained model as we measured it, a published result, or a baseline; `None` is unknown."""

    origin: Origin
    task: Task
    dataset: str
    mini: bool
    backbone: str
    figures: Mapping[str, Figure]  # by the names of columns: "miou_ms", "params_m", ...; what is absent is unknown
    method: str | None = None
    pretrain: str | None = None
    schedule: str | None = None
    flops_input: tuple[int, int] | None = None  # width, height
    device: str | None = None  # and its setting, of FPS, latency and memory in the figures
    costs: Mapping[str, Mapping[str, Figure]] = field(default_factory=dict)  # FPS, latency and memory by device
    experiment: str | None = None
    date: datetime | None = None
    seeds: tuple[int | None, ...] = ()  # of the trainings whose mean the figures are
    checkpoint_sha256: str | None = None
    git_commit: str | None = None
    dataset_fingerprint: str | None = None
    num_images: int | None = None
    generated_data: bool | None = None  # whether the tested images are synthetic scenes
    records: tuple[Record, ...] = ()  # those that the figures come from, of each seed at most one of each kind
    older_records: int = 0  # of the same experiment, superseded by those
    spreads: Mapping[str, Spread] = field(default_factory=dict)  # over seeds, by the names of columns
    intervals: Mapping[str, Interval] = field(default_factory=dict)  # over images, by the names of columns
    published: PublishedResult | None = field(default=None, repr=False)

    def tests(self, kind: str) -> tuple[Record, ...]:
        """The records of one kind, one for each seed."""
        return tuple(record for record in self.records if record.kind == kind)

    @property
    def precision(self) -> str | None:
        """The number format that the tests ran in."""
        return next((record.cost.get("dtype") for record in self.records if record.kind != "benchmark"), None)

    def on(self, device: str | None) -> Entry:
        """With the FPS, latency and memory of a device in its figures."""
        figures = {name: figure for name, figure in self.figures.items() if name not in OF_DEVICE}
        return replace(self, device=device, figures=figures | dict(self.costs.get(device or "", {})))


def main_figures(task: Task) -> tuple[str, ...]:
    """The figures that may rank a task's entries, in the order of the papers' preference."""
    return ("miou_ms", "miou_ss") if task == "segmentation" else ("box_ap", "mask_ap")


def measured_entries(records: Iterable[Record]) -> list[Entry]:
    """One entry per experiment, from the newest test of each kind and seed; figures of several seeds are averaged.

    Test records count only where they are of the same checkpoint and images as the newest test record: a multi-scale
    result from before a retraining must not stand beside the single-scale result from after it. Seeds are combined
    where they were trained and tested alike; tests of another precision (--amp) are an entry of their own. Costs come
    from all benchmarks (densebench.leaderboard.costs).
    """
    groups: dict[Key, list[Record]] = {}
    benchmarks: dict[Key, list[Record]] = {}
    for record in records:
        if record.kind == "benchmark":
            benchmarks.setdefault(_key(record, _without_seed(record.experiment)), []).append(record)
        else:
            groups.setdefault((*_key(record, record.experiment), record.cost.get("dtype")), []).append(record)
    used = set()
    for group in groups.values():
        # A model costs the same whatever seed it was trained with.
        cost_key = _key(group[0], _without_seed(group[0].experiment))
        group.extend(benchmarks.get(cost_key, ()))
        used.add(cost_key)
    groups |= {key: group for key, group in benchmarks.items() if key not in used}
    by_seed = [_measured_entry(group) for _, group in sorted(groups.items(), key=lambda item: str(item[0]))]
    alike: dict[Key, list[Entry]] = {}
    for entry in by_seed:
        alike.setdefault(_training_and_test(entry), []).append(entry)
    return [_combined(entries) for entries in alike.values()]


def published_entry(result: PublishedResult) -> Entry:
    """The entry of a published result; it is never marked as measured."""
    return Entry(
        origin="published",
        task=_task(result.method, result.figures),
        dataset=result.dataset,
        mini=False,
        backbone=result.backbone,
        figures={name: Figure(value, result.printed[name]) for name, value in result.figures.items()},
        method=result.method,
        pretrain=result.pretrain,
        schedule=result.schedule,
        flops_input=result.flops_input,
        device=result.fps_hardware,
        costs=_published_costs(result),
        published=result,
    )


def _published_costs(result: PublishedResult) -> dict[str, dict[str, Figure]]:
    """Figures on hardware that the source does not name compare with none."""
    if result.fps_hardware is None or "fps" not in result.figures:
        return {}
    return {result.fps_hardware: {"fps": Figure(result.figures["fps"], result.printed["fps"])}}


def baseline_entry(entries: Iterable[Entry]) -> Entry | None:
    """What predicting the most frequent class everywhere scores on the images of these entries, if it is recorded.

    One prediction for every pixel scores the same at one scale and at many.
    """
    for entry in entries:
        for record in entry.records:
            miou = record.metrics.get("majority_class_mIoU")
            if miou is not None:
                figures = {"miou_ss": Figure(miou), "miou_ms": Figure(miou)}
                return Entry("baseline", entry.task, entry.dataset, entry.mini, BASELINE_NAME, figures)
    return None


# Records to one entry -----------------------------------------------------------------------------------------

# column <- metric of the single-scale test; the other kinds have their own line in _figures
_SINGLE_SCALE_METRICS = {
    "miou_ss": "mIoU",
    "box_ap": "bbox_AP",
    "box_ap50": "bbox_AP50",
    "box_ap75": "bbox_AP75",
    "mask_ap": "segm_AP",
    "mask_ap50": "segm_AP50",
    "mask_ap75": "segm_AP75",
}


def _key(record: Record, experiment: str) -> Key:
    return (experiment, record.dataset, record.method, record.backbone, record.mini)


def _without_seed(experiment: str) -> str:
    """The experiment's name without the `_seedN` that a training with --seed adds."""
    return re.sub(r"_seed\d+$", "", experiment)


def _measured_entry(group: list[Record]) -> Entry:
    chosen = _newest_tests(group)
    tests = sorted(chosen.values(), key=lambda record: record.date)
    in_order = [chosen[kind] for kind in ("test-ss", "test-ms") if kind in chosen]
    costs = merged_costs([record for record in group if record.kind == "benchmark"], in_order)
    newest = tests[-1] if tests else max(group, key=_age)
    records = (*in_order, *(costs.records or ((newest,) if not tests else ())))
    metrics = {name: value for test in tests for name, value in test.metrics.items() if value is not None}
    entry = Entry(
        origin="measured",
        task=_task(newest.method, metrics),
        dataset=newest.dataset,
        mini=newest.mini,
        backbone=newest.backbone,
        figures=_figures(_accuracies(chosen)) | _figures(costs.of_model),
        method=newest.method,
        pretrain=newest.pretrain,
        schedule=newest.schedule,
        flops_input=costs.flops_input,
        costs={device: _figures(values) for device, values in costs.by_device.items()},
        experiment=newest.experiment,
        date=newest.date,
        seeds=(newest.provenance.get("seed"),) if tests else (),
        checkpoint_sha256=newest.provenance.get("checkpoint_sha256") if tests else None,
        git_commit=newest.provenance.get("git_commit"),
        dataset_fingerprint=newest.provenance.get("dataset_fingerprint") if tests else None,
        num_images=newest.provenance.get("num_images") if tests else None,
        generated_data=_is_generated(newest) if tests else None,
        records=records,
        older_records=len(group) - len(records),
    )
    return entry.on(next(iter(entry.costs), None))


def _training_and_test(entry: Entry) -> Key:
    """What seeds that are combined have in common."""
    protocols = {record.kind: record.protocol for record in entry.records if record.kind != "benchmark"}
    return (
        *(_without_seed(entry.experiment or ""), entry.dataset, entry.method, entry.backbone, entry.mini),
        *(entry.pretrain, entry.schedule, entry.dataset_fingerprint, json.dumps(protocols, sort_keys=True)),
        entry.precision,
    )


def _combined(entries: list[Entry]) -> Entry:
    if len(entries) == 1:
        return entries[0]
    newest = max(entries, key=lambda entry: entry.date.timestamp() if entry.date else 0.0)
    figures = {
        name: [entry.figures[name].value for entry in entries]
        for name in newest.figures
        if all(name in entry.figures for entry in entries)
    }
    spreads = {name: spread(values) for name, values in figures.items() if len(set(values)) > 1}
    unique = {record.path: record for entry in entries for record in entry.records}  # seeds share a benchmark
    return replace(
        newest,
        experiment=_without_seed(newest.experiment or ""),
        figures={name: Figure(statistics.fmean(values)) for name, values in figures.items()},
        seeds=tuple(seed for entry in entries for seed in entry.seeds),
        spreads={name: value for name, value in spreads.items() if value is not None},
        checkpoint_sha256=None,
        records=tuple(unique.values()),
        older_records=sum(entry.older_records for entry in entries),
    )


def _newest_tests(group: list[Record]) -> dict[str, Record]:
    newest_first = sorted((record for record in group if record.kind != "benchmark"), key=_age, reverse=True)
    chosen: dict[str, Record] = {}
    for record in newest_first:
        if _tested(record) == _tested(newest_first[0]):
            chosen.setdefault(record.kind, record)
    return chosen


def _age(record: Record) -> tuple[datetime, str]:
    return record.date, str(record.path)


def _tested(record: Record) -> tuple[object, object]:
    return record.provenance.get("checkpoint_sha256"), record.provenance.get("dataset_fingerprint")


def _is_generated(record: Record) -> bool | None:
    """As the record tells; one from before it told, by its command: a miniature without --data-root is generated."""
    told = record.provenance.get("generated_data")
    if isinstance(told, bool):
        return told
    command = record.provenance.get("command")
    if not record.mini or not isinstance(command, list):
        return None
    return not any(str(argument).partition("=")[0] == "--data-root" for argument in command)


def _accuracies(tests: Mapping[str, Record]) -> dict[str, float | None]:
    """The columns that the newest tests fill."""
    figures: dict[str, float | None] = {}
    if "test-ss" in tests:
        metrics = tests["test-ss"].metrics
        figures |= {column: metrics.get(metric) for column, metric in _SINGLE_SCALE_METRICS.items()}
    if "test-ms" in tests:
        figures["miou_ms"] = tests["test-ms"].metrics.get("mIoU")
    return figures


def _figures(values: Mapping[str, float | None]) -> dict[str, Figure]:
    return {name: Figure(value) for name, value in values.items() if value is not None}


def _task(method: str, figures: Mapping[str, object]) -> Task:
    if method in methods.SEGMENTATION or "mIoU" in figures:
        return "segmentation"
    return "detection"

"""Tables of the leaderboard: a pure function of records and published results.

One table holds what may be ranked together: one task, one data set, the same images, miniature or real.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from densebench.data.layouts import OFFICIAL_SIZES
from densebench.leaderboard.entries import (
    Entry,
    Task,
    baseline_entry,
    main_figures,
    measured_entries,
    published_entry,
)
from densebench.leaderboard.published import PublishedResult
from densebench.leaderboard.records import Record

UNKNOWN = "\N{EN DASH}"

# The images of the validation sets that published results are for.
OFFICIAL_NUM_IMAGES = {name: sizes["val"] for name, sizes in OFFICIAL_SIZES.items()}


@dataclass(frozen=True)
class Column:
    """A column: `key` names a figure of the entry, or, where it is text, an attribute."""

    key: str
    title: str
    meaning: str
    is_text: bool = False
    is_accuracy: bool = False  # higher is better, and the best is marked


@dataclass(frozen=True)
class Cell:
    """What a table shows in one place; `value` is the unrounded number behind it."""

    text: str
    value: float | None = None
    is_best: bool = False


@dataclass(frozen=True)
class Row:
    """An entry with its cells, one per column of the table."""

    entry: Entry
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """Rows that may be ranked together, best first; columns that no row fills are left out."""

    title: str
    subtitle: str
    mini: bool
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def is_measured(self) -> bool:
        """Whether any row is ours."""
        return any(row.entry.origin == "measured" for row in self.rows)

    @property
    def is_mixed(self) -> bool:
        """Whether published results stand beside ours."""
        return self.is_measured and any(row.entry.origin == "published" for row in self.rows)


def build_tables(records: Iterable[Record], published: Iterable[PublishedResult] = ()) -> list[Table]:
    """All tables: ours first (real before miniature), then those that hold published results alone."""
    quoted = [published_entry(result) for result in published]
    groups = _same_images(measured_entries(records))
    tables: list[Table] = []
    placed: set[tuple[Task, str]] = set()
    for key, entries in groups.items():
        beside = [entry for entry in quoted if key.is_official and _field(entry) == (key.task, key.dataset)]
        placed.update(_field(entry) for entry in beside)
        tables.append(_table(key, entries, beside))
    for task, dataset in sorted({_field(entry) for entry in quoted} - placed):
        alone = [entry for entry in quoted if _field(entry) == (task, dataset)]
        tables.append(_table(TableKey(task, dataset, mini=False), [], alone))
    return tables


# Who stands in which table ------------------------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class TableKey:
    """What the rows of a table have in common."""

    task: Task
    dataset: str
    mini: bool
    num_images: int | None = None  # None: no row was tested
    dataset_fingerprint: str | None = None
    generated_data: bool | None = None  # None: unknown, or no row was tested

    @property
    def is_official(self) -> bool:
        """Whether published results are for the same images."""
        if self.mini or self.generated_data or self.dataset not in OFFICIAL_NUM_IMAGES:
            return False
        return self.num_images in (None, OFFICIAL_NUM_IMAGES[self.dataset])


def _field(entry: Entry) -> tuple[Task, str]:
    return entry.task, entry.dataset


def _same_images(entries: Iterable[Entry]) -> dict[TableKey, list[Entry]]:
    """Groups of entries tested on the same images; those never tested join the largest group of their data set."""
    groups: dict[TableKey, list[Entry]] = {}
    untested = []
    for entry in entries:
        if any(record.kind != "benchmark" for record in entry.records):
            images = entry.num_images or 0, entry.dataset_fingerprint, entry.generated_data
            groups.setdefault(TableKey(entry.task, entry.dataset, entry.mini, *images), []).append(entry)
        else:
            untested.append(entry)
    for entry in untested:
        own = TableKey(entry.task, entry.dataset, entry.mini)
        candidates = [key for key in groups if (key.task, key.dataset, key.mini) == (own.task, own.dataset, own.mini)]
        largest = max(candidates, key=lambda key: (len(groups[key]), _order(key)), default=own)
        groups.setdefault(largest, []).append(entry)
    return dict(sorted(groups.items(), key=lambda item: _order(item[0])))


def _order(key: TableKey) -> tuple[object, ...]:
    return key.mini, key.task != "segmentation", key.dataset, -(key.num_images or 0), key.dataset_fingerprint or ""


# One table ----------------------------------------------------------------------------------------------------

_IDENTITY = (
    Column("backbone", "Backbone", "registered name of the backbone", is_text=True),
    Column("method", "Method", "detection or segmentation method", is_text=True),
    Column("pretrain", "Pretraining", "data and manner of the backbone's pretraining", is_text=True),
    Column("schedule", "Schedule", "training schedule", is_text=True),
)
_ACCURACY = {
    "segmentation": (
        Column("miou_ss", "mIoU ss", "mean IoU tested at a single scale, percent", is_accuracy=True),
        Column("miou_ms", "mIoU ms", "mean IoU tested at many scales with flips, percent", is_accuracy=True),
    ),
    "detection": (
        Column("box_ap", "AP box", "average precision of boxes, IoU 0.5 to 0.95, percent", is_accuracy=True),
        Column("box_ap50", "AP box 50", "average precision of boxes at IoU 0.5, percent", is_accuracy=True),
        Column("box_ap75", "AP box 75", "average precision of boxes at IoU 0.75, percent", is_accuracy=True),
        Column("mask_ap", "AP mask", "average precision of masks, IoU 0.5 to 0.95, percent", is_accuracy=True),
        Column("mask_ap50", "AP mask 50", "average precision of masks at IoU 0.5, percent", is_accuracy=True),
        Column("mask_ap75", "AP mask 75", "average precision of masks at IoU 0.75, percent", is_accuracy=True),
    ),
}
_COST = (
    Column("params_m", "Params (M)", "parameters of the whole model, millions"),
    Column("flops_g", "FLOPs (G)", "multiply-adds of one forward pass, billions"),
    Column("flops_input", "at input", "input size of the FLOPs, width x height", is_text=True),
    Column("fps", "FPS", "images per second, in the benchmark"),
    Column("latency_ms", "Latency (ms)", "median time of one forward pass, in the benchmark"),
    Column("peak_memory_mb", "Memory (MB)", "peak memory of inference, in the benchmark"),
    Column("device", "Device", "what FPS, latency and memory were measured on", is_text=True),
)

_METHOD_TITLES = {
    "mask_rcnn": "Mask R-CNN",
    "cascade_mask_rcnn": "Cascade Mask R-CNN",
    "fcos": "FCOS",
    "upernet": "UperNet",
    "deeplabv3plus": "DeepLabV3+",
}
_DATASET_TITLES = {"ade20k": "ADE20K", "cityscapes": "Cityscapes", "coco": "COCO", "folder": "Own images"}
_TASK_TITLES = {"segmentation": "semantic segmentation", "detection": "object detection"}


def _table(key: TableKey, measured: Sequence[Entry], published: Sequence[Entry]) -> Table:
    baseline = baseline_entry(measured)
    models = [*measured, *published]
    entries = sorted([*models, *([baseline] if baseline else [])], key=_rank)
    columns = tuple(
        column
        for column in (*_IDENTITY, *_ACCURACY[key.task], *_COST)
        if column.key in ("backbone", *main_figures(key.task)[:1]) or any(_is_known(e, column) for e in entries)
    )
    best = {
        column.key: max(entry.figures[column.key].value for entry in models if column.key in entry.figures)
        for column in columns
        if column.is_accuracy and any(column.key in entry.figures for entry in models)
    }
    dataset = _DATASET_TITLES.get(key.dataset, key.dataset)
    if key.mini:
        dataset += " miniature" if key.generated_data or key.num_images is None else " at miniature sizes"
    return Table(
        title=f"{dataset}, {_TASK_TITLES[key.task]}",
        subtitle=_subtitle(key, has_measured=bool(measured)),
        mini=key.mini,
        columns=columns,
        rows=tuple(Row(entry, tuple(_cell(entry, column, best) for column in columns)) for entry in entries),
    )


def _rank(entry: Entry) -> tuple[object, ...]:
    """Best first, unknown last; ties stand in an order that does not depend on the reading."""
    value = entry.main_value
    return value is None, -(value or 0.0), entry.origin, entry.backbone, entry.experiment or str(entry.published)


def _is_known(entry: Entry, column: Column) -> bool:
    return getattr(entry, column.key) is not None if column.is_text else column.key in entry.figures


def _subtitle(key: TableKey, has_measured: bool) -> str:
    if not has_measured:
        return "Published results alone; nothing measured on the official validation set yet."
    if key.num_images is None:
        return "Cost alone; nothing tested yet."
    images = (
        f"{key.num_images or 'unknown number of'} test images, fingerprint {(key.dataset_fingerprint or UNKNOWN)[:8]}"
    )
    if key.mini:
        source = {True: "Generated scenes", False: "Real images", None: "Generated scenes or real images"}
        return (
            f"{source[key.generated_data]} at a miniature's sizes and schedule, {images}: a check of the pipeline, not "
            "comparable with published results."
        )
    if key.generated_data:
        return f"Generated scenes, {images}: a check of the pipeline, not comparable with published results."
    if key.dataset in OFFICIAL_NUM_IMAGES and not key.is_official:
        official = OFFICIAL_NUM_IMAGES[key.dataset]
        return f"{images}: not the {official} of the official validation set, so no published results stand here."
    return f"{images}." if key.dataset not in OFFICIAL_NUM_IMAGES else f"Official validation set, {images}."


# One cell -----------------------------------------------------------------------------------------------------


def _cell(entry: Entry, column: Column, best: dict[str, float]) -> Cell:
    if column.is_text:
        return Cell(_attribute_text(entry, column.key))
    figure = entry.figures.get(column.key)
    if figure is None:
        return Cell(UNKNOWN)
    rounded = f"{figure.value:.2f}" if column.is_accuracy else _cost_text(figure.value)
    return Cell(
        text=rounded if figure.printed is None else figure.printed,
        value=figure.value,
        is_best=entry.origin != "baseline" and figure.value == best.get(column.key),
    )


def _attribute_text(entry: Entry, key: str) -> str:
    value = getattr(entry, key)
    if value is None:
        return UNKNOWN
    if key == "flops_input":
        return f"{value[0]}\N{MULTIPLICATION SIGN}{value[1]}"
    return _METHOD_TITLES.get(value, value) if key == "method" else str(value)


def _cost_text(value: float) -> str:
    """About four digits; a small cost keeps two of its own and never reads 0."""
    if value >= 1000:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.2g}"

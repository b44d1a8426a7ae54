"""Tables of the leaderboard: a pure function of records and published results.

One table holds what may be ranked together (densebench.leaderboard.comparable).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from densebench import methods
from densebench.leaderboard.assessment import Reproduction, Standing, reproduction, standings, with_intervals
from densebench.leaderboard.bootstrap import Interval
from densebench.leaderboard.comparable import OFFICIAL_NUM_IMAGES, Conditions, Group, conditions_of, grouped
from densebench.leaderboard.costs import commonest
from densebench.leaderboard.entries import (
    Entry,
    Task,
    baseline_entry,
    main_figures,
    measured_entries,
    published_entry,
)
from densebench.leaderboard.uncertainty import Spread
from densebench.results.published import PublishedResult
from densebench.results.records import Problem, Record

UNKNOWN = "\N{EN DASH}"


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
    interval: Interval | None = None  # over images
    spread: Spread | None = None  # over seeds


@dataclass(frozen=True)
class Row:
    """An entry with its cells, one per column of the table."""

    entry: Entry
    cells: tuple[Cell, ...]
    standing: Standing | None = None  # by the table's ranking figure; None where no interval is known
    reproductions: tuple[Reproduction, ...] = ()  # one for each figure that is published too


@dataclass(frozen=True)
class Table:
    """Rows that may be ranked together, best first; columns that no row fills are left out."""

    title: str  # shared by the tables of one task and data set
    subtitle: str
    conditions: Conditions
    apart: tuple[str, ...]  # why these rows are not in the first table of their title; empty for the first
    ranking: str  # the column that ranks
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def mini(self) -> bool:
        """Whether these are tests on generated data, or at its sizes."""
        return self.conditions.mini

    @property
    def is_measured(self) -> bool:
        """Whether any row is ours."""
        return any(row.entry.origin == "measured" for row in self.rows)

    @property
    def is_mixed(self) -> bool:
        """Whether published results stand beside ours."""
        return self.is_measured and any(row.entry.origin == "published" for row in self.rows)


@dataclass(frozen=True)
class Leaderboard:
    """All tables, and the per-image parts that could not be read."""

    tables: tuple[Table, ...]
    problems: tuple[Problem, ...]


def build_tables(records: Iterable[Record], published: Iterable[PublishedResult] = ()) -> Leaderboard:
    """All tables: ours first (real before miniature), then those that hold published results alone."""
    quoted = [published_entry(result) for result in published]
    entries, problems = with_intervals(measured_entries(records))
    groups = sorted(grouped(entries), key=_order)
    placed: set[int] = set()
    sides: list[tuple[Group, list[Entry]]] = []
    for group in groups:
        beside = [entry for entry in quoted if _stands_beside(entry, group.conditions)]
        placed.update(map(id, beside))
        sides.append((group, beside))
    alone = sorted(grouped(entry for entry in quoted if id(entry) not in placed), key=_order)
    sides += [(Group(group.conditions, ()), list(group.entries)) for group in alone]
    # Tables of one task and data set stand together, where the first of them stands.
    fields = list(dict.fromkeys(group.conditions.field for group, _ in sides))
    sides.sort(key=lambda side: fields.index(side[0].conditions.field))
    tables: list[Table] = []
    first: dict[tuple[bool, Task, str], Conditions] = {}
    for group, beside in sides:
        reference = first.setdefault(group.conditions.field, group.conditions)
        tables.append(_table(group, beside, group.conditions.conflicts(reference), quoted))
    return Leaderboard(tuple(tables), tuple(problems))


def _stands_beside(published: Entry, conditions: Conditions) -> bool:
    if not conditions.is_official or published.schedule is None:
        return False
    return not conditions_of(published).conflicts(replace(conditions, num_images=None))


def _order(group: Group) -> tuple[object, ...]:
    of = group.conditions
    return of.mini, of.task != "segmentation", of.dataset, -(of.num_images or 0), -len(group.entries), str(of)


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

_DATASET_TITLES = {"ade20k": "ADE20K", "cityscapes": "Cityscapes", "coco": "COCO", "folder": "Own images"}
_TASK_TITLES = {"segmentation": "semantic segmentation", "detection": "object detection"}


def _table(group: Group, published: Sequence[Entry], apart: tuple[str, ...], quoted: Sequence[Entry]) -> Table:
    conditions = group.conditions
    device = commonest(entry.costs for entry in group.entries)
    measured = [entry.on(device) if device in entry.costs else entry for entry in group.entries]
    baseline = baseline_entry(measured)
    models = [*measured, *published]
    ranking = _ranking_figure(models)
    standing = standings(measured, ranking)
    entries = sorted([*models, *([baseline] if baseline else [])], key=lambda entry: _rank(entry, ranking))
    columns = tuple(
        column
        for column in (*_IDENTITY, *_ACCURACY[conditions.task], *_COST)
        if column.key in ("backbone", ranking) or any(_is_known(e, column) for e in entries)
    )
    best = {
        column.key: max(entry.figures[column.key].value for entry in models if column.key in entry.figures)
        for column in columns
        if column.is_accuracy and any(column.key in entry.figures for entry in models)
    }
    dataset = _DATASET_TITLES.get(conditions.dataset, conditions.dataset)
    if conditions.mini:
        is_known = conditions.generated_data or conditions.num_images is None
        dataset += " miniature" if is_known else " at miniature sizes"
    return Table(
        title=f"{dataset}, {_TASK_TITLES[conditions.task]}",
        subtitle=_subtitle(conditions, has_measured=bool(measured)),
        conditions=conditions,
        apart=apart,
        ranking=ranking,
        columns=columns,
        rows=tuple(
            Row(
                entry,
                tuple(_cell(entry, column, best) for column in columns),
                standing.get(entry.experiment or ""),
                _reproductions(entry, quoted) if conditions.is_official else (),
            )
            for entry in entries
        ),
    )


def _ranking_figure(entries: Sequence[Entry]) -> str:
    """The figure that most rows have; of equals the one that papers put first."""
    names = main_figures(entries[0].task)
    return max(names, key=lambda name: (sum(name in entry.figures for entry in entries), -names.index(name)))


def _reproductions(entry: Entry, quoted: Sequence[Entry]) -> tuple[Reproduction, ...]:
    found = (reproduction(entry, column.key, quoted) for column in _ACCURACY[entry.task])
    return tuple(item for item in found if item is not None)


def _rank(entry: Entry, ranking: str) -> tuple[object, ...]:
    """Best first, unknown last; ties stand in an order that does not depend on the reading."""
    value = entry.figures[ranking].value if ranking in entry.figures else None
    return value is None, -(value or 0.0), entry.origin, entry.backbone, entry.experiment or str(entry.published)


def _is_known(entry: Entry, column: Column) -> bool:
    return getattr(entry, column.key) is not None if column.is_text else column.key in entry.figures


def _subtitle(key: Conditions, has_measured: bool) -> str:
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
        interval=entry.intervals.get(column.key),
        spread=entry.spreads.get(column.key),
    )


def _attribute_text(entry: Entry, key: str) -> str:
    value = getattr(entry, key)
    if value is None:
        return UNKNOWN
    if key == "flops_input":
        return f"{value[0]}\N{MULTIPLICATION SIGN}{value[1]}"
    return methods.TITLES.get(value, value) if key == "method" else str(value)


def _cost_text(value: float) -> str:
    """About four digits; a small cost keeps two of its own and never reads 0."""
    if value >= 1000:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.2g}"

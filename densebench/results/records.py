"""Records: one JSON file per test or benchmark run, written once and never edited (docs of the schema: contract).

`<work_dir>/records/<timestamp>-<kind>.json`. A record is either valid as a whole or left out as a whole; nothing
is repaired. Unknown is null, never 0.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from numbers import Integral, Real
from pathlib import Path, PurePosixPath
from typing import Any

from densebench.errors import DensebenchError
from densebench.results.schema import COST_KEYS, KINDS, PROVENANCE_KEYS, check_document, parsed_date
from densebench.whole_files import written_whole


@dataclass(frozen=True)
class Record:
    """One valid record; the fields are the keys of the JSON document, `None` is unknown."""

    path: Path
    kind: str
    experiment: str
    backbone: str
    method: str
    dataset: str
    pretrain: str | None
    schedule: str | None
    mini: bool
    total_batch: int | None
    images_per_gpu: int | None
    protocol: Mapping[str, Any]
    metrics: Mapping[str, Any]  # percent, unrounded
    per_image: Path | None  # in the document relative to the record's folder, here joined with it
    cost: Mapping[str, Any]
    provenance: Mapping[str, Any]

    @property
    def date(self) -> datetime:
        """When the run ended; a date without a time zone is read as UTC."""
        return parsed_date(self.provenance["date"])


@dataclass(frozen=True)
class Problem:
    """A file or folder that was left out, and why."""

    path: str
    reason: str


def read_records(work_dirs: Iterable[Path | str] = ("work_dirs",)) -> tuple[list[Record], list[Problem]]:
    """All valid records below `work_dirs`, in the order of their paths, and what was left out.

    Every folder named `records` counts, however deep; links are followed; a file reached twice is read once.
    """
    problems: list[Problem] = []
    records = []
    for path in sorted(set(_record_files(work_dirs, problems))):
        try:
            records.append(_read_record(path))
        except (OSError, ValueError, RecursionError) as error:
            problems.append(Problem(str(path), _reason(error)))
    return records, sorted(problems, key=lambda problem: problem.path)


def new_record_path(work_dir: Path | str, kind: str) -> Path:
    """The path of a record to write now: `<work_dir>/records/<UTC time to the microsecond>-<kind>.json`.

    No file of that name exists, and none with the suffix `.npz`, which is where its per-image parts belong.
    """
    if kind not in KINDS:
        raise ValueError(f"expected a record kind of {', '.join(KINDS)}, found {kind!r}")
    now = datetime.now(timezone.utc)
    while True:
        path = Path(work_dir) / "records" / f"{now:%Y%m%dT%H%M%S%f}-{kind}.json"
        if not path.exists() and not path.with_suffix(".npz").exists():
            return path
        now += timedelta(microseconds=1)


def write_record(record: Mapping[str, Any], path: Path | str) -> None:
    """Writes a record whole or not at all; the file named by `per_image` has to exist by then.

    NaN becomes null, numpy scalars become plain numbers, and keys of `cost` and `provenance` that are absent
    become null. An invalid record, an existing file and a folder that cannot be written raise DensebenchError.
    """
    path = Path(path)
    try:
        document = _plain(record)
        for part, keys in (("cost", COST_KEYS), ("provenance", PROVENANCE_KEYS)):
            if isinstance(document.get(part), dict):
                document[part] = {**dict.fromkeys(keys), **document[part]}
        check_document(document)
        _check_files(document, path)
    except ValueError as error:
        raise DensebenchError(f"The record {path} was not written: {error}.") from error
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            raise DensebenchError(f"The record {path} exists already, and records are never rewritten.")
        with written_whole(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DensebenchError(f"The record {path} cannot be written: {_reason(error)}.") from error


# Reading ------------------------------------------------------------------------------------------------------


def _record_files(work_dirs: Iterable[Path | str], problems: list[Problem]) -> Iterator[Path]:
    seen: set[Path] = set()

    def unreadable(error: OSError) -> None:
        problems.append(Problem(str(error.filename), _reason(error)))

    for root in map(Path, work_dirs):
        if not root.is_dir():
            problems.append(
                Problem(str(root), "expected a folder, found " + ("a file" if root.exists() else "nothing"))
            )
        for name, subfolders, files in os.walk(root, onerror=unreadable, followlinks=True):
            resolved = Path(name).resolve()
            if resolved in seen:  # reached before: overlapping arguments, or a link that leads back
                subfolders.clear()
                continue
            seen.add(resolved)
            subfolders.sort()
            if "records" in (Path(name).name, resolved.name):
                yield from (Path(name) / file for file in files if file.endswith(".json"))


def _read_record(path: Path) -> Record:
    document = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    json.dumps(document, ensure_ascii=False).encode("utf-8")  # half a surrogate pair could not be shown: ValueError
    check_document(document)
    _check_files(document, path)
    fields = {key: value for key, value in document.items() if key not in ("schema", "per_image")}
    per_image = document["per_image"]
    return Record(path=path, per_image=None if per_image is None else path.parent / per_image, **fields)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"expected finite numbers, found {name}")


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not valid JSON, truncated perhaps: {error.msg} (line {error.lineno}, column {error.colno})"
    if isinstance(error, UnicodeError):
        return "not text in UTF-8"
    if isinstance(error, RecursionError):
        return "nested too deeply to be a record"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)


def _check_files(document: Mapping[str, Any], path: Path) -> None:
    if not path.name.endswith(f"-{document['kind']}.json"):
        raise ValueError(f"expected a file name that ends in -{document['kind']}.json, found {path.name}")
    if document["per_image"] is None:
        return
    relative = PurePosixPath(document["per_image"])
    if relative.is_absolute() or ".." in relative.parts:
        raise ValueError(f"per_image: expected a path below the record's folder, found {document['per_image']!r}")
    if not (path.parent / relative).is_file():
        raise ValueError(f"per_image: expected {relative} beside the record, found nothing")
    if not zipfile.is_zipfile(path.parent / relative):
        raise ValueError(f"per_image: {relative} is not a whole .npz file")


def _plain(value: Any) -> Any:
    """Containers and scalars as JSON has them; NaN becomes None; raises ValueError on infinity, TypeError else."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        if math.isinf(value):
            raise ValueError("expected finite numbers, found an infinite one")
        return None if math.isnan(value) else float(value)
    raise TypeError(f"a record holds text, numbers, lists and mappings; found {value!r}")

import json
import math
from datetime import datetime, timezone
from pathlib import Path

import numpy
import pytest

from densebench.errors import DensebenchError
from densebench.results.records import new_record_path, read_records, write_record


def test_written_record_is_read_back(save, tmp_path):
    path = save("test-ms", per_image="parts.npz")
    records, problems = read_records([tmp_path / "work_dirs"])
    assert not problems
    assert [record.path for record in records] == [path]
    assert records[0].metrics["mIoU"] == 46.01234
    assert records[0].per_image == path.parent / "parts.npz"
    assert records[0].date.isoformat() == "2026-11-20T10:00:00+00:00"


def test_unknown_is_null(record, tmp_path):
    path = new_record_path(tmp_path, "test-ss")
    write_record(record(metrics={"mIoU": math.nan}), path)
    document = json.loads(path.read_text())
    assert document["metrics"]["mIoU"] is None
    assert document["cost"]["fps"] is None
    assert document["provenance"]["world_size"] is None


def test_numpy_scalars_and_tuples_become_plain(record, tmp_path):
    path = new_record_path(tmp_path, "test-ss")
    write_record(
        record(metrics={"mIoU": numpy.float32(0.5)}, total_batch=numpy.int64(4), protocol={"scale": (512, 128)}), path
    )
    document = json.loads(path.read_text())
    assert (document["metrics"]["mIoU"], document["total_batch"]) == (0.5, 4)
    assert document["protocol"]["scale"] == [512, 128]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"mini": 0}, "mini: expected bool"),
        ({"backbone": None}, "backbone: expected str"),
        ({"kind": "test"}, "kind: expected one of"),
        ({"schema": 2}, "expected schema 1, found 2"),
        ({"note": "mine"}, "keys are unknown: note"),
        ({"cost": {"fps": 0}}, "cost.fps: expected a positive number, or null"),
        ({"cost": {"flops_input": 512}}, "cost.flops_input: expected"),
        ({"metrics": {"mIoU": "46"}}, "metrics.mIoU: expected a finite number"),
        ({"metrics": {"mIoU": math.inf}}, "finite"),
        ({"provenance": {"date": None}}, "provenance.date: expected an ISO 8601 date"),
        ({"provenance": {"checkpoint_sha256": 1}}, "provenance.checkpoint_sha256: expected text"),
        ({"per_image": "absent.npz"}, "expected absent.npz beside the record"),
        ({"per_image": "../parts.npz"}, "expected a path below the record's folder"),
    ],
)
def test_invalid_record_is_not_written(record, tmp_path, changes, message):
    document = record()
    for key, value in changes.items():
        document[key] = document[key] | value if isinstance(value, dict) else value
    with pytest.raises(DensebenchError, match=message):
        write_record(document, tmp_path / "20261121T000000-test-ss.json")
    assert not list(tmp_path.iterdir())


def test_failed_serialisation_leaves_nothing(record, tmp_path):
    with pytest.raises(TypeError, match="found <object"):
        write_record(record(protocol={"scales": object()}), new_record_path(tmp_path, "test-ss"))
    assert not list(tmp_path.rglob("*"))


def test_failed_writing_leaves_nothing(record, tmp_path, monkeypatch):
    def full_disk(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(DensebenchError, match="No space left on device"):
        write_record(record(), new_record_path(tmp_path, "test-ss"))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_existing_record_is_never_rewritten(record, save):
    path = save()
    before = path.read_bytes()
    with pytest.raises(DensebenchError, match="never rewritten"):
        write_record(record(backbone="resnet50"), path)
    assert path.read_bytes() == before


def test_unwritable_folder_is_one_message(record, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DensebenchError, match="cannot be written"):
        write_record(record(), tmp_path / "file" / "records" / "20261121T000000-test-ss.json")


def test_names_in_the_same_instant_differ(tmp_path, monkeypatch):
    class Frozen(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2026, 11, 21, tzinfo=timezone.utc)

    monkeypatch.setattr("densebench.results.records.datetime", Frozen)
    names = []
    for suffix in (".json", ".npz", ".json"):
        path = new_record_path(tmp_path, "test-ss")
        path.parent.mkdir(exist_ok=True)
        path.with_suffix(suffix).write_text("")
        names.append(path.name)
    assert len(set(names)) == 3
    assert names == sorted(names)
    assert names[0] == "20261121T000000000000-test-ss.json"


def test_unknown_kind_has_no_path(tmp_path):
    with pytest.raises(ValueError, match="expected a record kind"):
        new_record_path(tmp_path, "train")


def test_broken_and_foreign_records_are_listed_and_left_alone(save, tmp_path):
    good = save()
    folder = good.parent
    whole = json.loads(good.read_text())
    contents = {
        "a-test-ss.json": json.dumps(whole)[:100],
        "b-test-ss.json": json.dumps(whole | {"schema": 7}),
        "c-test-ss.json": json.dumps({key: value for key, value in whole.items() if key != "metrics"}),
        "d-test-ss.json": json.dumps(whole | {"per_image": "absent.npz"}),
        "e-test-ss.json": "[]",
        "f-test-ss.json": json.dumps(whole | {"metrics": {"mIoU": math.nan}}),
        "g-test-ms.json": json.dumps(whole),
        "h-test-ss.json": json.dumps(whole | {"experiment": "\ud800"}),
        "i-test-ss.json": "[" * 100_000,
        "j-test-ss.json": json.dumps(whole | {"metrics": {"mIoU": 10**400}}),
        "k-test-ss.json": json.dumps(whole | {"per_image": "broken.npz"}),
    }
    for name, text in contents.items():
        (folder / name).write_text(text)
    (folder / "broken.npz").write_bytes(b"PK\x03\x04 and then the disk was full")
    (folder / "l-test-ss.json").write_bytes(b"\xff\xfe\x00")
    records, problems = read_records([tmp_path / "work_dirs"])
    assert [record.path for record in records] == [good]
    assert [Path(problem.path).name[0] for problem in problems] == list("abcdefghijkl")
    reasons = dict(zip("abcdefghijkl", (problem.reason for problem in problems), strict=True))
    assert "not valid JSON" in reasons["a"]
    assert reasons["b"] == "expected schema 1, found 7"
    assert reasons["c"] == "keys are missing: metrics"
    assert "absent.npz" in reasons["d"]
    assert "NaN" in reasons["f"]
    assert "not a whole .npz" in reasons["k"]
    assert {name: (folder / name).read_text() for name in contents} == contents


def test_nested_and_overlapping_folders_are_read_once(save, tmp_path):
    path = save(work_dir="demo/deep/experiment")
    (tmp_path / "work_dirs" / "demo" / "loop").symlink_to(tmp_path / "work_dirs")
    records, problems = read_records([tmp_path / "work_dirs", path.parent.parent, path.parent])
    assert len(records) == 1
    assert not problems


def test_missing_folder_is_a_problem(tmp_path):
    records, problems = read_records([tmp_path / "absent"])
    assert not records
    assert problems[0].reason == "expected a folder, found nothing"

import pytest

from densebench.leaderboard.entries import baseline_entry, measured_entries, published_entry
from densebench.leaderboard.published import published_results
from densebench.leaderboard.records import read_records


@pytest.fixture
def entries(tmp_path):
    return lambda: measured_entries(read_records([tmp_path / "work_dirs"])[0])


def test_three_kinds_merge_into_one_entry(save, entries):
    save("test-ss")
    save("test-ms", metrics={"mIoU": 46.7})
    save("benchmark", cost={"params_m": 60.25})
    (entry,) = entries()
    values = {name: figure.value for name, figure in entry.figures.items()}
    assert values == {
        "miou_ss": 46.01234,
        "miou_ms": 46.7,
        "params_m": 60.25,
        "flops_g": 938.5,
        "fps": 21.37,
        "latency_ms": 46.8,
        "peak_memory_mb": 1834.2,
    }
    assert (entry.main_figure, entry.device, entry.flops_input) == ("miou_ms", "H100", (2048, 512))
    assert (entry.checkpoint_sha256, entry.seed, entry.older_records) == ("1a2b3c4d5e6f7a8b", 0, 0)
    assert [record.kind for record in entry.records] == ["test-ss", "test-ms", "benchmark"]


def test_a_benchmark_serves_every_seed_of_its_experiment(save, entries):
    for seed in (0, 1):
        save("test-ss", experiment=f"upernet_convnext_t_ade20k_seed{seed}", provenance={"seed": seed})
    save("benchmark")
    save("benchmark", experiment="upernet_convnext_s_ade20k", backbone="convnext_s")
    found = entries()
    assert [entry.experiment for entry in found] == [
        "upernet_convnext_s_ade20k",
        "upernet_convnext_t_ade20k_seed0",
        "upernet_convnext_t_ade20k_seed1",
    ]
    assert all("fps" in entry.figures for entry in found)


def test_the_newest_of_a_kind_counts_whatever_its_file_is_called(save, entries):
    save(metrics={"mIoU": 47.0}, provenance={"date": "2026-11-20T12:00:00+02:00"})
    save(metrics={"mIoU": 48.0}, provenance={"date": "2026-11-20T11:00:00Z"})
    save(metrics={"mIoU": 49.0}, provenance={"date": "2026-11-19T23:00:00"})
    (entry,) = entries()
    assert entry.figures["miou_ss"].value == 48.0
    assert entry.older_records == 2


def test_tests_of_different_checkpoints_do_not_stand_in_one_row(save, entries):
    save("test-ms", provenance={"checkpoint_sha256": "old"})
    save("test-ss", provenance={"checkpoint_sha256": "new", "date": "2026-11-21T00:00:00Z"})
    (entry,) = entries()
    assert "miou_ms" not in entry.figures
    assert (entry.checkpoint_sha256, entry.older_records) == ("new", 1)


def test_other_experiments_and_the_miniature_stay_apart(save, entries):
    save()
    save(mini=True)
    save(experiment="upernet_convnext_t_ade20k_seed1")
    assert len(entries()) == 3


def test_speed_comes_from_the_benchmark_alone(save, entries):
    save("test-ss", cost={"fps": 3.0, "peak_memory_mb": 9000})
    (entry,) = entries()
    assert "fps" not in entry.figures
    assert "peak_memory_mb" not in entry.figures
    assert entry.figures["params_m"].value == 60.24


def test_detection(save, entries):
    save(method="mask_rcnn", dataset="coco", metrics={"mIoU": None, "bbox_AP": 46.2, "segm_AP": 41.7})
    (entry,) = entries()
    assert (entry.task, entry.main_figure, entry.main_value) == ("detection", "box_ap", 46.2)


def test_published_entries_are_never_measured():
    entries = [published_entry(result) for result in published_results()]
    assert {entry.origin for entry in entries} == {"published"}
    assert not any(entry.records or entry.mini or entry.experiment for entry in entries)
    assert all(figure.printed for entry in entries for figure in entry.figures.values())


def test_baseline(save, entries):
    save()
    baseline = baseline_entry(entries())
    assert (baseline.origin, baseline.main_value) == ("baseline", 0.1123)


def test_no_baseline_where_none_is_recorded(save, entries):
    save(metrics={"majority_class_mIoU": None})
    assert baseline_entry(entries()) is None

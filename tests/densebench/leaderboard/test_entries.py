import pytest

from densebench.leaderboard.comparable import conditions_of
from densebench.leaderboard.entries import baseline_entry, measured_entries, published_entry
from densebench.results.published import published_results
from densebench.results.records import read_records


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
    assert (entry.device, entry.flops_input) == ("H100", (2048, 512))
    assert (entry.checkpoint_sha256, entry.seeds, entry.older_records) == ("1a2b3c4d5e6f7a8b", (0,), 0)
    assert [record.kind for record in entry.records] == ["test-ss", "test-ms", "benchmark"]


def test_seeds_of_one_experiment_are_one_entry_and_share_a_benchmark(save, entries):
    for seed, miou in ((0, 46.0), (1, 47.0), (2, 45.4)):
        save(
            experiment=f"upernet_convnext_t_ade20k_seed{seed}",
            metrics={"mIoU": miou},
            provenance={"seed": seed, "checkpoint_sha256": f"checkpoint {seed}"},
        )
    save("benchmark")
    save("benchmark", experiment="upernet_convnext_s_ade20k", backbone="convnext_s")
    other, entry = entries()
    assert (other.experiment, other.seeds) == ("upernet_convnext_s_ade20k", ())
    assert (entry.experiment, entry.seeds) == ("upernet_convnext_t_ade20k", (0, 1, 2))
    assert entry.figures["miou_ss"].value == pytest.approx((46.0 + 47.0 + 45.4) / 3)
    spread = entry.spreads["miou_ss"]
    assert (spread.num_seeds, spread.lowest, spread.highest) == (3, 45.4, 47.0)
    assert spread.standard_deviation == pytest.approx(0.8083, abs=1e-4)
    assert all("fps" in found.figures for found in (other, entry))
    assert [record.kind for record in entry.records].count("benchmark") == 1
    assert len(entry.tests("test-ss")) == 3


@pytest.mark.parametrize(
    "change", [{"protocol": {"mode": "whole"}}, {"schedule": "80k"}, {"provenance": {"dataset_fingerprint": "other"}}]
)
def test_seeds_trained_or_tested_otherwise_stay_apart(save, entries, change):
    save(experiment="upernet_convnext_t_ade20k_seed0")
    save(experiment="upernet_convnext_t_ade20k_seed1", **change)
    assert len(entries()) == 2


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
    save(experiment="upernet_convnext_t_ade20k_wide")
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
    assert (entry.task, entry.figures["box_ap"].value) == ("detection", 46.2)


def test_published_entries_are_never_measured():
    entries = [published_entry(result) for result in published_results()]
    assert {entry.origin for entry in entries} == {"published"}
    assert not any(entry.records or entry.mini or entry.experiment for entry in entries)
    assert all(figure.printed for entry in entries for figure in entry.figures.values())


def test_baseline(save, entries):
    save()
    baseline = baseline_entry(entries())
    assert (baseline.origin, baseline.figures["miou_ms"].value) == ("baseline", 0.1123)


def test_no_baseline_where_none_is_recorded(save, entries):
    save(metrics={"majority_class_mIoU": None})
    assert baseline_entry(entries()) is None


def test_a_test_in_low_precision_does_not_take_the_place_of_a_full_one(save, entries):
    save(metrics={"mIoU": 46.0}, cost={"dtype": "float32"})
    save(metrics={"mIoU": 45.9}, cost={"dtype": "bfloat16"})
    save("benchmark")
    found = {entry.precision: entry for entry in entries()}
    assert {name: entry.figures["miou_ss"].value for name, entry in found.items()} == {
        "float32": 46.0,
        "bfloat16": 45.9,
    }
    assert all("fps" in entry.figures for entry in found.values())
    (reason,) = conditions_of(found["bfloat16"]).conflicts(conditions_of(found["float32"]))
    assert reason == "test precision bfloat16, not float32"

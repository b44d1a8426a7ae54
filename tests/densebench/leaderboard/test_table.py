import pytest

from densebench.leaderboard.table import UNKNOWN, build_tables
from densebench.results.published import published_results
from densebench.results.records import read_records


@pytest.fixture
def tables(tmp_path):
    def tables(with_published=False):
        records, _ = read_records([tmp_path / "work_dirs"])
        return build_tables(records, published_results() if with_published else ()).tables

    return tables


def texts(table, row):
    return {column.key: cell.text for column, cell in zip(table.columns, table.rows[row].cells, strict=True)}


def test_best_first_unknown_last_baseline_in_its_place(save, tables):
    save(experiment="a", metrics={"mIoU": 40.0})
    save(experiment="b", metrics={"mIoU": None})
    save(experiment="c", metrics={"mIoU": 42.0})
    save(experiment="d", metrics={"mIoU": 0.05})
    (table,) = tables()
    assert [row.entry.experiment for row in table.rows] == ["c", "a", None, "d", "b"]
    assert [row.entry.origin for row in table.rows].count("baseline") == 1


def test_multi_scale_ranks_where_all_rows_have_it(save, tables):
    save(experiment="a", metrics={"mIoU": 40.0})
    save("test-ms", experiment="a", metrics={"mIoU": 43.0})
    save(experiment="b", metrics={"mIoU": 42.0})
    (table,) = tables()
    assert table.ranking == "miou_ss"
    assert [row.entry.experiment for row in table.rows] == ["b", "a", None]
    save("test-ms", experiment="b", metrics={"mIoU": 42.5})
    (table,) = tables()
    assert table.ranking == "miou_ms"
    assert [row.entry.experiment for row in table.rows] == ["a", "b", None]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"protocol": {"mode": "whole"}}, "single-scale test"),
        ({"protocol": {"scales": [[2560, 640]]}}, "single-scale test"),
        ({"protocol": {"train_size": "640x640"}}, "training size 640x640, not 512x512"),
        ({"pretrain": "in22k"}, "pretraining in22k, not in1k"),
        ({"schedule": "80k"}, "schedule 80k, not 160k"),
        ({"provenance": {"dataset_fingerprint": "0123"}}, "data fingerprint 0123, not feedc0de12345678"),
    ],
)
def test_rows_under_other_conditions_stand_in_a_table_of_their_own_that_says_why(save, tables, change, reason):
    for name in "ab":
        save(experiment=name, protocol={"train_size": "512x512"})
    save(experiment="c", **{"protocol": {"train_size": "512x512"}, **change})
    first, second = tables()
    assert (first.title, first.apart) == (second.title, ())
    assert {row.entry.experiment for row in second.rows} == {"c", None}
    assert len(second.apart) == 1
    assert second.apart[0].startswith(reason)


@pytest.mark.parametrize("pretrain", ["file:mine.pth", "timm:a1_in1k", None])
def test_weights_of_ones_own_stand_beside_those_of_papers(save, tables, pretrain):
    save(experiment="a")
    save(experiment="b", pretrain=pretrain)
    assert len(tables()) == 1


def test_timm_weights_of_more_data_do_not(save, tables):
    save(experiment="a")
    save(experiment="b", pretrain="timm:fb_in22k_ft_in1k")
    assert len(tables()) == 2


def test_figures_are_rounded_only_for_show_and_unknown_is_a_dash(save, tables):
    save(experiment="a", pretrain=None)
    save(experiment="b", metrics={"mIoU": 46.0166})
    (table,) = tables()
    first, second = texts(table, 0), texts(table, 1)
    assert (first["miou_ss"], first["params_m"], first["flops_g"]) == ("46.02", "60.2", "938.5")
    assert first["flops_input"] == "2048\N{MULTIPLICATION SIGN}512"
    assert (second["miou_ss"], second["miou_ms"], second["pretrain"]) == ("46.01", UNKNOWN, UNKNOWN)
    assert table.rows[0].cells[4].value == 46.0166


def test_a_small_cost_never_reads_zero(save, tables):
    save("test-ss", cost={"params_m": 0.0042, "flops_g": 3.14159})
    (table,) = tables()
    assert (texts(table, 0)["params_m"], texts(table, 0)["flops_g"]) == ("0.0042", "3.14")


def test_columns_that_nothing_fills_are_left_out(save, tables):
    save()
    (table,) = tables()
    keys = [column.key for column in table.columns]
    assert "miou_ms" in keys
    assert "fps" not in keys


def test_the_best_of_a_column_is_marked_but_never_the_baseline(save, tables):
    save(experiment="a", metrics={"mIoU": 0.0})
    save(experiment="b", metrics={"mIoU": 0.1123, "majority_class_mIoU": 0.1123})
    (table,) = tables()
    marked = [row.entry.experiment for row in table.rows if any(cell.is_best for cell in row.cells)]
    assert marked == ["b"]  # the baseline has the same value


def test_miniature_stands_apart_and_without_published_rows(save, tables):
    save(experiment="real")
    save(experiment="small", mini=True, provenance={"num_images": 2000})
    found = tables(with_published=True)
    with_small = [table for table in found if any(row.entry.experiment == "small" for row in table.rows)]
    assert len(with_small) == 1
    assert with_small[0].mini
    assert "miniature" in with_small[0].title
    assert {row.entry.origin for row in with_small[0].rows} == {"measured", "baseline"}
    assert not any(row.entry.mini for table in found if table is not with_small[0] for row in table.rows)


@pytest.mark.parametrize(
    ("provenance", "title", "words"),
    [
        ({"generated_data": True}, "Own images miniature", "Generated scenes"),
        ({"generated_data": False}, "Own images at miniature sizes", "Real images"),
        # Records from before this was told: the command says it, where there is one.
        ({"command": ["tools/test.py", "x", "--mini"]}, "Own images miniature", "Generated scenes"),
        ({"command": ["tools/test.py", "x", "--mini", "--data-root", "/d"]}, "Own images at mini", "Real images"),
        ({"command": ["tools/test.py", "x", "--mini", "--data-root=/d"]}, "Own images at mini", "Real images"),
        ({"command": None}, "Own images at miniature sizes", "Generated scenes or real images"),
    ],
)
def test_a_miniature_run_says_whose_images_it_saw(save, tables, provenance, title, words):
    save(dataset="folder", mini=True, provenance=provenance)
    (table,) = tables()
    assert table.title.startswith(title)
    assert table.subtitle.startswith(words)


def test_a_full_run_on_generated_scenes_says_so(save, tables):
    save(provenance={"generated_data": True, "num_images": 24})
    (table,) = tables(with_published=True)[:1]
    assert table.subtitle.startswith("Generated scenes") and not table.is_mixed


def test_published_rows_only_on_request(save, tables):
    save()
    assert not any(row.entry.published for table in tables() for row in table.rows)
    found = tables(with_published=True)
    assert sum(row.entry.origin == "published" for table in found for row in table.rows) == 272
    assert found[0].is_mixed
    beside = [row.entry for row in found[0].rows if row.entry.published]
    assert {(entry.pretrain, entry.schedule) for entry in beside} == {("in1k", "160k")}
    assert [table.is_measured for table in found] == [True, *[False] * (len(found) - 1)]
    assert all(table.apart for table in found[1:] if table.title == found[0].title)


def test_published_figures_keep_their_digits(tables):
    shown = {
        cell.text for table in tables(with_published=True) for row in table.rows for cell in row.cells if cell.value
    }
    assert {"23.40", "46.0", "46.05"} <= shown


def test_published_rows_do_not_stand_beside_other_images(save, tables):
    save(provenance={"num_images": 6})
    found = tables(with_published=True)
    assert "not the 2000" in found[0].subtitle
    assert not found[0].is_mixed


def test_different_images_are_not_ranked_together(save, tables):
    save(experiment="a", dataset="folder", provenance={"dataset_fingerprint": "aaaa", "num_images": 15})
    save(experiment="b", dataset="folder", provenance={"dataset_fingerprint": "bbbb", "num_images": 15})
    assert len(tables()) == 2


def test_cost_alone_joins_the_tested_rows_of_its_data_set(save, tables):
    save(experiment="a")
    save("benchmark", experiment="b", backbone="resnet50")
    (table,) = tables()
    assert [row.entry.experiment for row in table.rows] == ["a", None, "b"]


def test_cost_alone_makes_a_table_too(save, tables):
    save("benchmark")
    (table,) = tables()
    assert texts(table, 0)["miou_ms"] == UNKNOWN
    assert texts(table, 0)["device"] == "H100"


def test_the_order_of_reading_does_not_matter(save, tmp_path):
    for name in "abc":
        save(experiment=name, metrics={"mIoU": 40.0})
    records, _ = read_records([tmp_path / "work_dirs"])
    assert build_tables(records) == build_tables(records[::-1])

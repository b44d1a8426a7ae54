import csv
import io

from densebench.leaderboard.csv_table import csv_text
from densebench.leaderboard.table import build_tables
from densebench.results.published import published_results
from densebench.results.records import read_records


def test_every_row_unrounded_and_empty_where_unknown(save, tmp_path):
    save(experiment='a,"b"')
    save("benchmark", experiment='a,"b"')
    records, _ = read_records([tmp_path / "work_dirs"])
    rows = list(csv.DictReader(io.StringIO(csv_text(build_tables(records, published_results()).tables))))
    assert len(rows) == 1 + 1 + 272
    measured = next(row for row in rows if row["origin"] == "measured")
    assert measured["experiment"] == 'a,"b"'
    assert (measured["miou_ss"], measured["miou_ms"], measured["fps"]) == ("46.01234", "", "21.37")
    assert measured["date"] == "2026-11-20T10:00:00+00:00"
    published = [row for row in rows if row["origin"] == "published"]
    assert all(row["source"] for row in published)
    assert any(row["fps"] == "23.40" for row in published)


def test_intervals_ranks_and_ties(tested, tmp_path):
    tested("strong", 0.8, seed=1)
    tested("weak", 0.4, seed=2)
    rows = list(csv.DictReader(io.StringIO(csv_text(build_tables(read_records([tmp_path / "work_dirs"])[0]).tables))))
    assert [row["rank"] for row in rows if row["origin"] == "measured"] == ["1", "2"]
    assert float(rows[0]["miou_ss_low"]) < float(rows[0]["miou_ss"]) < float(rows[0]["miou_ss_high"])

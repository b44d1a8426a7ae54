from densebench.leaderboard.chart import HEIGHT, WIDTH, chart
from densebench.leaderboard.published import published_results
from densebench.leaderboard.records import read_records
from densebench.leaderboard.table import build_tables


def test_better_is_higher_and_dearer_is_further_right(save, tmp_path):
    save(experiment="a", backbone="cheap", metrics={"mIoU": 40.0}, cost={"flops_g": 900})
    save(experiment="b", backbone="dear", metrics={"mIoU": 45.0}, cost={"flops_g": 1800})
    save(experiment="c", backbone="uncounted", metrics={"mIoU": 45.0}, cost={"flops_g": None})
    (table,) = build_tables(read_records([tmp_path / "work_dirs"])[0]).tables
    points = {point.label: point for point in chart(table).points}
    assert points.keys() == {"cheap", "dear"}
    assert points["dear"].x > points["cheap"].x
    assert points["dear"].y < points["cheap"].y


def test_one_point_is_no_chart(save, tmp_path):
    save()
    (table,) = build_tables(read_records([tmp_path / "work_dirs"])[0]).tables
    assert chart(table) is None


def test_equal_points_still_have_axes(save, tmp_path):
    save(experiment="a")
    save(experiment="b")
    (table,) = build_tables(read_records([tmp_path / "work_dirs"])[0]).tables
    assert len(chart(table).y_ticks) >= 2


def test_everything_lies_inside():
    for table in build_tables([], published_results()).tables:
        drawing = chart(table)
        if drawing is None:
            continue
        assert all(0 < point.x < WIDTH and 0 < point.y < HEIGHT for point in drawing.points)
        assert 2 <= len(drawing.x_ticks) <= 9
        assert 2 <= len(drawing.y_ticks) <= 9

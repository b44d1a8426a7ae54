from densebench.leaderboard.chart import HEIGHT, WIDTH, charts, pareto_front
from densebench.leaderboard.table import build_tables
from densebench.results.published import published_results
from densebench.results.records import read_records


def test_better_is_higher_and_dearer_is_further_right(save, tmp_path):
    save(experiment="a", backbone="cheap", metrics={"mIoU": 40.0}, cost={"flops_g": 900})
    save(experiment="b", backbone="dear", metrics={"mIoU": 45.0}, cost={"flops_g": 1800})
    save(experiment="c", backbone="uncounted", metrics={"mIoU": 45.0}, cost={"flops_g": None})
    (table,) = build_tables(read_records([tmp_path / "work_dirs"])[0]).tables
    points = {point.label: point for point in charts(table)[0].points}
    assert points.keys() == {"cheap", "dear"}
    assert points["dear"].x > points["cheap"].x
    assert points["dear"].y < points["cheap"].y


def test_one_point_is_no_chart(save, tmp_path):
    save()
    (table,) = build_tables(read_records([tmp_path / "work_dirs"])[0]).tables
    assert charts(table) == ()


def test_equal_points_still_have_axes(save, tmp_path):
    save(experiment="a")
    save(experiment="b")
    (table,) = build_tables(read_records([tmp_path / "work_dirs"])[0]).tables
    assert len(charts(table)[0].y_ticks) >= 2


def test_everything_lies_inside():
    for table in build_tables([], published_results()).tables:
        for drawing in charts(table):
            assert all(0 < point.x < WIDTH and 0 < point.y < HEIGHT for point in drawing.points)
            assert 1 <= len(drawing.x_ticks) <= 9
            assert 2 <= len(drawing.y_ticks) <= 9


def test_the_front_leaves_out_what_is_dearer_and_no_better():
    costs, scores = [1.0, 2.0, 3.0, 3.0], [40.0, 39.0, 45.0, 44.0]
    assert pareto_front(costs, scores, more_is_better=False) == [0, 2]
    assert pareto_front(costs, scores, more_is_better=True) == [2]


def test_our_device_comes_before_those_of_papers(save, tmp_path):
    for name in "ab":
        save("test-ms", experiment=name, metrics={"mIoU": 20.0})
        save("benchmark", experiment=name, cost={"device": "EPYC"})
    table, *_ = build_tables(read_records([tmp_path / "work_dirs"])[0], published_results()).tables
    devices = [drawing.device for drawing in charts(table) if drawing.axis.key == "fps"]
    assert devices[0] == "EPYC" and len(devices) > 1


def test_labels_hide_no_whisker(tested, tmp_path):
    for number, level in enumerate((0.5, 0.505, 0.51)):
        tested(f"net_{number}", level, seed=number, backbone=f"net_{number}", cost={"flops_g": 900.0 + 8 * number})
    (table,) = build_tables(read_records([tmp_path / "work_dirs"])[0]).tables
    points = charts(table)[0].points
    assert any(point.label for point in points)
    for point in (point for point in points if point.label and point.anchor != "middle"):
        ends = sorted((point.label_x, point.label_x + (6.2 if point.anchor == "start" else -6.2) * len(point.label)))
        for other in points:
            low, high = other.whisker
            crosses = ends[0] < other.x < ends[1] and high < point.label_y - 4 < low
            assert not crosses, (point.label, other.tooltip)


def test_devices_have_charts_of_their_own(save, tmp_path):
    for name, device in (("a", "H100"), ("b", "H100"), ("c", "EPYC"), ("d", "EPYC")):
        save(experiment=name, backbone=name)
        save("benchmark", experiment=name, backbone=name, cost={"device": device})
    (table,) = build_tables(read_records([tmp_path / "work_dirs"])[0]).tables
    found = {(drawing.axis.key, drawing.device): drawing for drawing in charts(table)}
    assert {(key, device) for key, device in found if key == "fps"} == {("fps", "H100"), ("fps", "EPYC")}
    assert {table.rows[point.row].entry.backbone for point in found["fps", "EPYC"].points} == {"c", "d"}

"""The LaTeX table: structure, order of columns, escaping."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from densebench.leaderboard.latex import latex
from densebench.leaderboard.table import Table, build_tables
from densebench.results.published import published_results
from densebench.results.records import read_records


def _tables(root: Path, with_published: bool = False) -> tuple[Table, ...]:
    return build_tables(read_records([root])[0], published_results() if with_published else ()).tables


def _rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]


def test_columns_stand_in_the_order_of_the_papers(save: Any, tmp_path: Path) -> None:
    metrics = {"mIoU": None, "bbox_AP": 46.2, "bbox_AP50": 67.9, "bbox_AP75": 50.8, "segm_AP": 41.7, "segm_AP50": 65.0}
    save(method="mask_rcnn", dataset="coco", metrics={**metrics, "segm_AP75": 44.9})
    text = latex(_tables(tmp_path))
    head, row, *_ = _rows(text)  # the baseline of the record's majority class is the last
    heads = [re.sub(r"\W|mathrm", "", cell) for cell in head.split("&")]
    assert heads == ["backbone", "method", "APbox", "APbox_50", "APbox_75", "APmask", "APmask_50", "APmask_75"] + [
        "paramsM",
        "FLOPsG",
    ]
    assert row.startswith(r"convnext\_t & Mask R-CNN & \textbf{46.20} & \textbf{67.90}")


def test_groups_stand_in_one_table_under_their_conditions(save: Any, tmp_path: Path) -> None:
    save(experiment="a")
    save(experiment="b", schedule="80k")
    text = latex(_tables(tmp_path))
    assert text.count(r"\begin{table*}") == text.count(r"\end{table*}") == 1
    assert text.count(r"\midrule") == 2
    assert "schedule 160k" in text
    assert "schedule 80k" in text


def test_every_row_has_as_many_cells_as_the_layout(tmp_path: Path) -> None:
    for part in latex(_tables(tmp_path, with_published=True)).split(r"\begin{tabular}")[1:]:
        width = len(re.match(r"{(l*r*)}", part).group(1))  # type: ignore[union-attr]
        assert {row.count("&") - row.count(r"\&") for row in _rows(part)} == {width - 1}


def test_published_rows_are_marked_and_intervals_are_optional(tested: Any, tmp_path: Path) -> None:
    tested("a", 0.46)
    tables = _tables(tmp_path, with_published=True)
    measured = next(row for row in _rows(latex(tables, with_intervals=True)) if r"\scriptsize" in row)
    assert re.search(r"4\d\.\d\d.* {\\scriptsize \[4\d\.\d, 4\d\.\d\]}", measured)
    assert r"\dagger" not in measured
    assert r"\scriptsize" not in latex(tables)
    assert r"swin\_t$^\dagger$" in latex(tables)


def test_speed_is_of_one_device_and_named(save: Any, tmp_path: Path) -> None:
    for name, device, fps in (("a", "H200", 21.0), ("b", "H200", 22.0), ("c", "EPYC_7", 1.5)):
        save(experiment=name, backbone=name)
        save("benchmark", experiment=name, backbone=name, cost={"device": device, "fps": fps})
    text = latex(_tables(tmp_path))
    assert "FPS of ours: H200." in text
    assert {row.split(" & ")[0]: row.split(" & ")[-1].split()[0] for row in _rows(text) if row[1:3] == " &"} == {
        "a": "21.0",
        "b": "22.0",
        "c": "--",
    }


def test_hostile_names_stay_text(save: Any, tmp_path: Path) -> None:
    save(backbone="a_b & \\input{x}\n% $^~#\x1b")
    text = latex(_tables(tmp_path))
    assert r"a\_b \& \textbackslash{}input\{x\} \% \$\textasciicircum{}\textasciitilde{}\#" in text
    assert "\x1b" not in text

from densebench.leaderboard.markdown import markdown
from densebench.leaderboard.table import build_tables
from densebench.results.records import Problem, read_records


def test_table_with_numbered_notes(save, tmp_path):
    save(metrics={"mIoU": 46.01234})
    text = markdown(build_tables(read_records([tmp_path / "work_dirs"])[0]).tables)
    lines = text.splitlines()
    assert lines[0] == "## ADE20K, semantic segmentation"
    rows = [line for line in lines if line.startswith("|")]
    assert len({len(line) for line in rows}) == 1
    assert rows[2].startswith("| measured | convnext_t")
    assert "**46.01**" in rows[2]
    assert "majority class (baseline)" in rows[3]
    note = "measured: upernet_convnext_t_ade20k, 2026-11-20, seed 0, checkpoint 1a2b3c4d, commit 9f8e7d6c"
    assert f"1. {note}" in lines


def test_hostile_names_break_neither_table_nor_terminal(save, tmp_path):
    save(experiment="a|b\n<script>\x1b[2J`*", backbone="x|y")
    text = markdown(build_tables(read_records([tmp_path / "work_dirs"])[0]).tables, [Problem("a\nb", "<b>")])
    assert "<script>" not in text
    assert "\x1b" not in text
    assert "a\\|b &lt;script> \\[2J\\`\\*" in text
    assert "x\\|y" in text
    assert "- `a b`: &lt;b>" in text

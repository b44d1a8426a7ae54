from pathlib import Path

import pytest

from densebench.errors import DensebenchError
from densebench.leaderboard.write import write_leaderboard


def write(tmp_path, formats=("html", "md", "csv"), **changes):
    settings = {"with_published": False, "generated": "2026-11-21"} | changes
    return write_leaderboard([tmp_path / "work_dirs"], tmp_path / "out", formats, **settings)


def test_all_files(save, tmp_path):
    save()
    written = write(tmp_path)
    assert [path.name for path in written.paths] == ["index.html", "leaderboard.md", "leaderboard.csv"]
    assert (tmp_path / "out" / "leaderboard.md").read_text() == written.summary
    assert not written.problems


def test_only_what_is_asked_for(save, tmp_path):
    save()
    write(tmp_path, ["md"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["leaderboard.md"]


def test_the_summary_shows_our_tables(save, tmp_path):
    save(mini=True)
    written = write(tmp_path, with_published=True)
    assert "published  " not in written.summary
    assert "| published " in (tmp_path / "out" / "leaderboard.md").read_text()


def test_nothing_to_show_says_what_was_looked_for_and_what_to_run(tmp_path):
    with pytest.raises(DensebenchError, match=r"(?s)records/\*\.json.*work_dirs.*tools/test\.py"):
        write(tmp_path)
    assert not (tmp_path / "out").exists()


def test_published_alone(tmp_path):
    assert "| published " in write(tmp_path, with_published=True).summary


def test_unwritable_folder_is_one_message(save, tmp_path):
    save()
    (tmp_path / "out").write_text("")
    with pytest.raises(DensebenchError, match="cannot be written"):
        write(tmp_path)


def test_a_failure_leaves_the_earlier_files_whole(save, tmp_path, monkeypatch):
    save()
    write(tmp_path)
    before = (tmp_path / "out" / "leaderboard.md").read_text()

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(DensebenchError, match="No space left"):
        write(tmp_path, generated="2026-11-22")
    assert (tmp_path / "out" / "leaderboard.md").read_text() == before
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "index.html",
        "leaderboard.csv",
        "leaderboard.md",
    ]


def test_figures_for_a_paper(save, tmp_path):
    for name in ("a", "b"):
        save(experiment=name, backbone=f"{name}$_x", cost={"flops_g": 900.0 + ord(name), "params_m": None})
    paths = write(tmp_path, ["pdf", "png"]).paths
    assert sorted(path.name for path in paths) == ["01-ade20k-flops_g.pdf", "01-ade20k-flops_g.png"]
    assert {path.read_bytes()[:4] for path in paths} == {b"%PDF", b"\x89PNG"}


def test_a_long_wait_is_announced(save, tmp_path, monkeypatch, capsys):
    save(parts={"images": ["a"], "classes": ["b"]})
    write(tmp_path)
    assert "Resampling" not in capsys.readouterr().err
    monkeypatch.setattr("densebench.leaderboard.write.LONG_BYTES", 10)
    write(tmp_path)
    assert "Resampling the test images of 1 records" in capsys.readouterr().err

import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from densebench.leaderboard.page import render_page
from densebench.leaderboard.table import build_tables
from densebench.results.published import published_results
from densebench.results.records import Problem, read_records

VOID = {"meta", "input", "line", "circle", "polyline", "br"}


class Balance(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.seen, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)


@pytest.fixture
def page(tmp_path):
    def page(published=(), problems=()):
        records, _ = read_records([tmp_path / "work_dirs"])
        return render_page(build_tables(records, published).tables, problems, "2026-11-21")

    return page


def test_same_input_same_bytes(save, page):
    save()
    save("benchmark")
    assert page(published_results()) == page(published_results())
    assert "Generated 2026-11-21" in page()


def test_markup_is_balanced_and_nothing_is_fetched(save, page):
    save()
    save(experiment="b", backbone="resnet50")
    text = page(published_results(), [Problem("x.json", "broken")])
    parser = Balance()
    parser.feed(text)
    assert not parser.open
    assert not {"link", "img", "iframe", "base"} & set(parser.seen)
    names = dict.fromkeys(name for name, _ in parser.attributes)
    assert "src" not in names
    assert all(value.startswith("#") for name, value in parser.attributes if name == "href")
    assert "url(" not in text
    assert "@import" not in text


@pytest.mark.parametrize("key", ["experiment", "backbone", "method", "dataset", "pretrain", "schedule"])
def test_hostile_text_is_escaped(save, page, key):
    attack = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    save(**{key: attack}, provenance={"command": [attack]}, protocol={attack: attack}, metrics={attack: 1.0})
    save("benchmark", **{key: attack}, cost={"device": attack})
    text = page(problems=[Problem(attack, attack)])
    assert "<script>alert" not in text
    assert "<img" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_provenance_unfolds_from_every_measured_row(save, page):
    save(provenance={"config_sha256": "c0ffee", "versions": {"torch": "2.14.1"}})
    text = page()
    details = re.search(r'<tr class="detail">.*?</tr>', text, re.S).group()
    for expected in ("upernet_convnext_t_ade20k", "c0ffee", "torch 2.14.1", "tools/test.py", "slide", "46.0123"):
        assert expected in details


def test_published_rows_are_marked_with_their_source(save, page):
    save()
    text = page(published_results())
    assert text.count('<tbody class="published"') == 272
    assert text.count('<tbody class="measured"') == 1
    assert text.count('<tbody class="baseline"') == 1
    assert text.count('<p class="soft">published: ') == 272
    assert '<tbody class="published"' not in page()


def test_problems_are_listed(page):
    text = page(problems=[Problem("work_dirs/a.json", "expected schema 1, found 2")])
    assert "work_dirs/a.json" in text
    assert "1 left out" in text


def test_zoom_and_themes(page):
    text = page()
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_pictures_of_the_test_stand_in_the_page(save, page, tmp_path):
    path = save()
    overlays = path.parent.parent / "overlays"
    overlays.mkdir()
    for number in range(5):
        Image.new("RGB", (1000, 500)).save(overlays / f"{number}.jpg")
    (overlays / "0.jpg").write_bytes(b"broken")
    text = page()
    assert text.count('<img src="data:image/jpeg;base64,') == 2
    assert len(text) < 200_000


def test_what_all_rows_share_stands_above_the_table(save, page):
    save(experiment="a", backbone="one")
    save(experiment="b", backbone="two")
    text = page()
    assert "Schedule: 160k" in text
    assert '<th scope="col" title="training schedule"' not in text


def test_published_results_alone_are_folded_away_beside_ours(save, page):
    assert '<details class="fold" open>' in page(published_results())
    save()
    text = page(published_results())
    assert '<details class="fold">' in text
    assert text.index('class="measured"') < text.index('<details class="fold">')


def test_verdicts_name_their_figure(tested, page):
    for kind in ("test-ss", "test-ms"):
        tested("upernet_convnext_t_ade20k", 0.40, kind=kind)
    text = re.sub(r"<[^>]*>|\s+", " ", page(published_results()))
    text = re.sub(" +", " ", text)
    assert re.search(r"mIoU ss below : -\d\.\d\d to the published 46\.0", text)
    assert re.search(r"mIoU ms below : -\d\.\d\d to the published 46\.7", text)

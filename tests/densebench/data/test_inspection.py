"""tools/prepare_data.py check: what a data set holds and every problem, on small sets, whole and spoilt."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import densebench.registration  # noqa: F401
from densebench.data import mini
from densebench.data.annotation_check import Finding
from densebench.data.inspection import Inspection, inspect, subject_of
from densebench.data.report import ClassCount, finding_lines, histogram
from densebench.errors import DensebenchError
from tests.running import fails, run_tool

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini, "NUM_IMAGES", {"train": 6, "val": 3})


def checked(name: str, root: Path) -> tuple[Inspection, str]:
    found = inspect(subject_of(name, str(root)), Console(quiet=True))
    lines = [split.text(None) for split in found.splits]
    return found, "\n".join(lines + [line for finding in found.findings for line in finding_lines(finding, None)])


@pytest.mark.parametrize("layout", ["ade20k", "cityscapes", "coco", "folder", "coco_folder"])
def test_a_miniature_written_to_a_folder_has_no_problem(tmp_path: Path, layout: str) -> None:
    mini.write(layout, tmp_path / "data")
    found, text = checked(layout, tmp_path / "data")
    assert not found.is_refused, text
    assert [split.num_images for split in found.splits] == [6, 3]
    assert all(sum(count.amount for count in split.classes) > 0 for split in found.splits)
    assert ("but the official split has" in text) == ("folder" not in layout)


def test_pixels_and_images_of_each_class_are_counted(tmp_path: Path) -> None:
    mini.write("folder", tmp_path)
    found, _ = checked("upernet_convnext_t_folder", tmp_path)
    labels = [np.asarray(Image.open(path)) for path in (tmp_path / "labels/val").iterdir()]
    for index, count in enumerate(found.splits[1].classes):
        assert count.amount == sum(int((label == index).sum()) for label in labels)
        assert count.num_images == sum(bool((label == index).any()) for label in labels)


def test_objects_of_each_class_are_counted(tmp_path: Path) -> None:
    mini.write("coco_folder", tmp_path)
    found, text = checked("mask_rcnn_convnext_t_folder", tmp_path)
    annotations = json.loads((tmp_path / "annotations/train.json").read_text())["annotations"]
    assert sum(count.amount for count in found.splits[0].classes) == len(annotations)
    people = [entry for entry in annotations if entry["category_id"] == 1]
    assert found.splits[0].classes[0] == ClassCount("person", len(people), len({e["image_id"] for e in people}))
    assert "0 person" in text


def test_every_problem_of_labels_is_listed(tmp_path: Path) -> None:
    mini.write("folder", tmp_path)
    images, labels = (sorted((tmp_path / kind / "train").iterdir()) for kind in ("images", "labels"))
    images[0].write_bytes(b"no picture")
    Image.fromarray(np.full((9, 9), 3, np.uint8)).save(labels[1])
    Image.fromarray(np.full(np.asarray(Image.open(labels[2])).shape, 77, np.uint8)).save(labels[2])
    (tmp_path / "labels/val/scene_val_0000.png").unlink()
    found, text = checked("folder", tmp_path)
    assert found.is_refused
    for part in (
        "REFUSED: 3 files that no run can load:",
        f"{images[0]} cannot be read",
        "differ in size",
        "holds values that are no class: 77",
        "REFUSED: 1 of 3 images have no label",
    ):
        assert part in text


def test_every_problem_of_annotations_is_listed(tmp_path: Path) -> None:
    mini.write("coco_folder", tmp_path)
    file = tmp_path / "annotations/val.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["category_id"] = 5
    content["annotations"][1]["segmentation"]["size"] = [1, 1]
    content["annotations"][2]["bbox"] = [0, 0, 0, 0]
    content["images"][0]["width"] += 1
    content["categories"][0]["name"] = "someone"
    file.write_text(json.dumps(content))
    (tmp_path / "val/000000000002.jpg").unlink()
    found, text = checked("coco_folder", tmp_path)
    assert found.is_refused
    for part in (
        "REFUSED: 1 annotations of an unknown category, id:",
        "whose run lengths are of another size than the image, id:",
        "note: 1 annotations without area, or narrower than a pixel, id:",
        "REFUSED: 1 images listed that are not in",
        "REFUSED: 1 images that no run can load:",
        "but its annotation file says",
        "differ in 1: id 1: person in training, someone in validation",
    ):
        assert part in text


def test_a_split_without_labels_and_one_without_a_class(tmp_path: Path) -> None:
    mini.write("folder", tmp_path)
    for path in (tmp_path / "labels/val").iterdir():
        Image.fromarray(np.full(np.asarray(Image.open(path)).shape, 255, np.uint8)).save(path)
    found, text = checked("folder", tmp_path)
    assert found.splits[1].is_refused and "REFUSED: no labelled pixel" in text
    assert "classes are in the other split but not in val:\n    sky," in text


def test_a_data_set_that_is_not_there(tmp_path: Path) -> None:
    found, text = checked("ade20k", tmp_path / "nowhere")
    assert found.is_refused and text.count("does not exist") == 2
    with pytest.raises(DensebenchError, match="need --data-root D to be checked"):
        subject_of("folder", None)
    with pytest.raises(DensebenchError, match="No config 'vocc'"):
        subject_of("vocc", None)


def test_histograms_and_long_lists() -> None:
    lines = histogram([ClassCount("sky", 30, 2), ClassCount("road", 10, 1)], "pixels")
    assert [line.count("#") for line in lines] == [0, 24, 8]
    assert lines[1].split() == ["0", "sky", "#" * 24, "75.00%", "30", "2"]
    assert finding_lines(Finding("bad", tuple(range(30)), False), 3) == [
        "  note: 30 bad:",
        "    0, 1, 2",
        "    and 27 more; --all names them",
    ]


def test_the_tool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("prepare_data", ROOT / "tools/prepare_data.py")
    assert spec is not None and spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)

    def tool(*arguments: object) -> str:
        program.main(program.build_parser().parse_args([str(argument) for argument in arguments]))
        return capsys.readouterr().out

    assert "Wrote the miniature" in tool("mini", "coco", tmp_path / "data")
    assert "No problem that a run would refuse" in tool("check", "coco", "--data-root", tmp_path / "data", "--debug")
    (tmp_path / "data/val2017/000000000001.jpg").unlink()
    with pytest.raises(DensebenchError, match="a run on these data would be refused"):
        tool("check", "mask_rcnn_convnext_t_coco", "--data-root", tmp_path / "data", "--all")
    assert "REFUSED: 1 images listed that are not in" in capsys.readouterr().out
    with pytest.raises(DensebenchError, match=r"ADEChallengeData2016.zip not found in the folder"):
        tool("ade20k", tmp_path)
    for wrong in (["mini", "voc", str(tmp_path)], []):
        with pytest.raises(SystemExit) as stopped:
            program.build_parser().parse_args(wrong)
        assert stopped.value.code == 2


def test_a_refusal_exits_with_1_and_one_message(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    fails(run_tool("prepare_data", "mini", "coco", tmp_path), "is no empty folder")


def test_the_miniature_is_not_written_over_what_is_there(tmp_path: Path) -> None:
    mini.write("ade20k", tmp_path / "data")
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    mini.write("ade20k", tmp_path / "copy")  # the same one: nothing to do
    (tmp_path / "copy/mine.txt").write_text("mine")
    with pytest.raises(DensebenchError, match="is no empty folder"):
        mini.write("ade20k", tmp_path / "copy")
    assert (tmp_path / "copy/mine.txt").read_text() == "mine"

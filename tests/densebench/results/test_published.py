import csv
from pathlib import Path

import pytest

import densebench.results
from densebench.results.published import FIGURES, backbone_name, pretrain_name, published_results

TABLE = Path(densebench.results.__file__).with_name("published_results.csv")


def test_no_row_and_no_figure_is_lost():
    with TABLE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    results = published_results()
    assert len(results) == len(rows) == 272
    for row, result in zip(rows, results, strict=True):
        assert result.printed == {key: row[key] for key in FIGURES if row[key]}
        assert all(result.figures[key] == float(text) for key, text in result.printed.items())
        assert (result.method, result.dataset, result.source) == (row["method"], row["dataset"], row["source"])
        assert "x".join(map(str, result.flops_input or ())) == row["flops_input"]
        assert (result.schedule or "", result.notes or "") == (row["schedule"], row["notes"])


def test_names_are_lower_case_and_distinct():
    results = published_results()
    names = {(result.family, result.variant): result.backbone for result in results}
    assert len(set(names.values())) == len(names) - 1  # RepLKNet 31 and 31B are one
    assert all(name == name.lower() and " " not in name and "-" not in name for name in names.values())


@pytest.mark.parametrize(
    "family, variant, name",
    [
        ("ConvNeXt", "XL", "convnext_xl"),
        ("ConvNeXtV2", "B", "convnextv2_base"),
        ("ConvNeXtV2", "H", "convnextv2_huge"),
        ("Swin", "T", "swin_t"),
        ("RepLKNet", "31B", "replknet_31b"),
        ("RepLKNet", "XL", "replknet_xl"),
        ("RepLKNet", "13", "replknet_13"),
        ("RepLKNet", "31", "replknet_31b"),
        ("ResNet", "50", "resnet50"),
        ("ResNeXt", "101-32x4d", "resnext101_32x4d"),
        ("MobileNetV2", "k9", "mobilenetv2_k9"),
        ("MobileNetV2", "k13-reparam3", "mobilenetv2_k13_rep"),
        ("MobileNetV2", "laststage-k7", "mobilenetv2_last_k7_rep"),
        ("InternImage", "T", "internimage_t"),
    ],
)
def test_backbone_name(family, variant, name):
    assert backbone_name(family, variant) == name


@pytest.mark.parametrize(
    "published, name",
    [
        ("in1k", "in1k"),
        ("in22k", "in22k"),
        ("megdata73m", "megdata73m"),
        ("fcmae-in1k", "fcmae"),
        ("fcmae-in22k", "fcmae_in22k"),
    ],
)
def test_pretrain_name(published, name):
    assert pretrain_name(published) == name

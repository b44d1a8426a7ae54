"""What a training will cost."""

import pytest

from densebench.cost.schedule_cost import iterations, measured_sizes, on_line
from densebench.recipe import RunOptions, resolve


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        ((512, 512), [(128, 128), (256, 256)]),
        ((1344, 800), [(192, 128), (352, 224)]),
        ((224, 128), [(224, 128)]),
    ],
)
def test_measured_sizes(size: tuple[int, int], sizes: list[tuple[int, int]]) -> None:
    assert measured_sizes(size) == sizes


def test_times_lie_on_a_line() -> None:
    assert on_line([(100, 3.0), (200, 4.0)], 1000) == pytest.approx(12.0)
    assert on_line([(100, 3.0)], 100) == 3.0
    assert on_line([(100, 4.0), (200, 3.9)], 1000) == 3.9  # noise does not make large images free


@pytest.mark.parametrize(("config", "steps"), [("upernet_convnext_t_ade20k", 20), ("mask_rcnn_resnet50_coco_1x", 20)])
def test_iterations_of_a_miniature(config: str, steps: int) -> None:
    assert iterations(resolve(RunOptions(config, mini=True, pretrained="none"))) == steps

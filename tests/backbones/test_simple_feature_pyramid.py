"""The simple feature pyramid: levels, channels, where elements lie in the image, gradients."""

import pytest
import torch

from backbones.layers.image_size import crop_to_image, pad_to_multiple
from backbones.layers.simple_feature_pyramid import PYRAMID_STRIDES, SimpleFeaturePyramid


@pytest.mark.parametrize(
    ("stride", "channels"),
    [
        (8, (12, 24, 24, 24)),
        (14, (6, 12, 24, 24)),
        (16, (6, 12, 24, 24)),
        (32, (3, 6, 12, 24)),
    ],
)
@pytest.mark.parametrize("size", [(64, 96), (65, 97), (200, 333)])
def test_levels_of_any_stride_and_image(stride: int, channels: tuple[int, ...], size: tuple[int, int]) -> None:
    pyramid = SimpleFeaturePyramid(24, stride)
    assert pyramid.out_channels == channels
    image = torch.zeros(2, 3, *size)
    rows, columns = (
        length // stride for length in pad_to_multiple(pad_to_multiple(image, pyramid.stride), stride).shape[2:]
    )
    source = torch.randn(2, 24, rows, columns, requires_grad=True)
    maps = crop_to_image(pyramid(source), PYRAMID_STRIDES, size)
    for level, expected, target in zip(maps, channels, PYRAMID_STRIDES, strict=True):
        assert tuple(level.shape) == (2, expected, -(-size[0] // target), -(-size[1] // target))
    sum(level.square().mean() for level in maps).backward()
    assert all(parameter.grad is not None for parameter in pyramid.parameters())
    assert source.grad is not None


def test_own_level_is_the_map_itself_and_the_coarser_one_its_maximum() -> None:
    source = torch.arange(30.0).reshape(1, 1, 5, 6).expand(1, 4, 5, 6)
    _, _, same, coarser = SimpleFeaturePyramid(4, 16)(source)
    assert torch.equal(same, source)
    # The odd last row has a cell of its own.
    assert coarser[0, 0].tolist() == [[7, 9, 11], [19, 21, 23], [25, 27, 29]]


def test_a_resampled_map_keeps_its_place_in_the_image() -> None:
    def centers(stride: int, count: int) -> torch.Tensor:
        return (torch.arange(count) + 0.5) * stride

    rows, columns = torch.meshgrid(centers(14, 16), centers(14, 24), indexing="ij")
    source = torch.stack([rows, columns])[None]  # (1, 2, 16, 24): each element holds its own position, in pixels
    same = SimpleFeaturePyramid(2, 14, out_strides=(16,))(source)[0]
    assert same.shape == (1, 2, 14, 21)
    wanted_rows, wanted_columns = torch.meshgrid(centers(16, 14), centers(16, 21), indexing="ij")
    torch.testing.assert_close(same[0], torch.stack([wanted_rows, wanted_columns]), rtol=0, atol=1e-3)


def test_padding_and_cropping() -> None:
    image = torch.ones(1, 3, 33, 64)
    padded = pad_to_multiple(image, 32)
    assert padded.shape == (1, 3, 64, 64)
    assert torch.equal(padded[:, :, :33], image) and not padded[:, :, 33:].any()
    assert pad_to_multiple(padded, 32).shape == padded.shape
    (level,) = crop_to_image([torch.zeros(1, 8, 16, 16)], [4], (33, 64))
    assert level.shape == (1, 8, 9, 16)

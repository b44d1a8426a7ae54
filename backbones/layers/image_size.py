"""Images of any size for models that need multiples: pad before, crop after."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor
from torch.nn import functional


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """(N, C, H, W), with zeros at the right and the bottom up to the next multiple of `multiple` pixels."""
    height, width = images.shape[2:]
    return functional.pad(images, (0, -width % multiple, 0, -height % multiple))


def crop_to_image(maps: Iterable[Tensor], strides: Iterable[int], image_size: tuple[int, int]) -> tuple[Tensor, ...]:
    """Feature maps without what lies beyond the image (H, W): ceil(H / stride) rows and ceil(W / stride) columns."""
    height, width = image_size
    return tuple(
        level[:, :, : -(-height // stride), : -(-width // stride)] for level, stride in zip(maps, strides, strict=True)
    )

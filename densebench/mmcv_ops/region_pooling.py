"""RoIAlign and RoIPool: features (N, C, H, W) -> one (C, ph, pw) per region.

Regions are (K, 5): the image's index in the batch, then x1, y1, x2, y2 in input pixels, which spatial_scale
turns into pixels of the feature map.
"""

from __future__ import annotations

import torch
from torch import Tensor

from densebench.mmcv_ops.kernels import full_precision, torchvision_kernels

_MAX_MODE = 0  # mmcv's code; 1 is the average
_NONE = -1  # the argmax of a bin without a sample


def roi_align_forward(
    features: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Writes the average or the maximum of each bin's bilinear samples into output (K, C, ph, pw).

    RoIAlign (Mask R-CNN, sec. 3). A bin has sampling_ratio samples a side, with 0 as many as cover its
    pixels. In max mode, argmax_y and argmax_x (K, C, ph, pw) get the position of the greatest sample in
    pixels of the feature map; a bin without a sample gives output 0 and argmax -1.
    """
    features, rois = full_precision(features), full_precision(rois)
    size = (aligned_height, aligned_width)
    if pool_mode == _MAX_MODE:
        _max_align(features, rois, (output, argmax_y, argmax_x), size, spatial_scale, sampling_ratio, aligned)
        return
    kernel = torchvision_kernels().roi_align
    output.copy_(kernel(features, rois.to(features.dtype), spatial_scale, *size, sampling_ratio, aligned))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Writes the gradient by the features into grad_input (N, C, H, W), arguments as in the forward."""
    grad_output, rois = full_precision(grad_output), full_precision(rois)
    if pool_mode == _MAX_MODE:
        grad_input.copy_(_max_align_gradient(grad_output, rois, argmax_y, argmax_x, grad_input.shape))
        return
    size = (aligned_height, aligned_width)
    rois = rois.to(grad_output.dtype)
    kernel = torchvision_kernels()._roi_align_backward
    gradient = kernel(grad_output, rois, spatial_scale, *size, *grad_input.shape, sampling_ratio, aligned)
    grad_input.copy_(gradient)


def roi_pool_forward(
    features: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Writes the maximum of each bin's pixels into output and its y * W + x into argmax, (K, C, ph, pw) each.

    RoIPool (Fast R-CNN, sec. 2.1); x2 and y2 are the last pixels inside the region. An empty bin gives output
    0 and argmax -1. This is not torchvision's kernel, which rounds a region to whole pixels of the feature
    map before it cuts it into bins: mmcv rounds the bins alone, and the two agree on whole pixels only.
    """
    features, rois = full_precision(features), full_precision(rois)
    height, width = features.shape[-2:]
    start = rois[:, 1:3] * spatial_scale  # (K, 2) as x, y
    extent = (rois[:, 3:] + 1) * spatial_scale - start
    not_empty = (extent > 0).all(dim=1, keepdim=True)
    first_x, end_x = _pixel_bins(start[:, :1], extent[:, :1], pooled_width, width)
    first_y, end_y = _pixel_bins(start[:, 1:], extent[:, 1:], pooled_height, height)
    empty = ~(not_empty & (end_y > first_y))[:, :, None] | (end_x <= first_x)[:, None, :]  # (K, ph, pw)

    output.zero_()
    argmax.fill_(_NONE)
    longest = torch.stack(((end_y - first_y).amax(dim=1), (end_x - first_x).amax(dim=1)), dim=1)
    for k, (image, rows, columns) in enumerate(torch.cat((rois[:, :1].long(), longest), dim=1).tolist()):
        if rows < 1 or columns < 1:
            continue
        y, y_inside = _bin_pixels(first_y[k], end_y[k], rows)
        x, x_inside = _bin_pixels(first_x[k], end_x[k], columns)
        pixels = features[image][:, y.flatten()][:, :, x.flatten()]  # (C, ph * rows, pw * columns)
        inside = y_inside.flatten()[:, None] & x_inside.flatten()
        greatest, row, column = _bin_maxima(pixels.masked_fill(~inside, -torch.inf), rows, columns)
        position = _in_bins(y, row, dim=0) * width + _in_bins(x, column, dim=1)
        output[k] = greatest.masked_fill(empty[k], 0)
        argmax[k] = position.masked_fill(empty[k], _NONE)


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Writes the gradient by the features into grad_input (N, C, H, W), arguments as in the forward."""
    grad_output, rois = full_precision(grad_output), full_precision(rois)
    size = (pooled_height, pooled_width)
    kernel = torchvision_kernels()._roi_pool_backward
    rois = rois.to(grad_output.dtype)
    grad_input.copy_(kernel(grad_output, rois, argmax, spatial_scale, *size, *grad_input.shape))


def _max_align(
    features: Tensor,
    rois: Tensor,
    results: tuple[Tensor, Tensor, Tensor],
    size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> None:
    """Fills results (output, argmax_y, argmax_x) region by region: torchvision has no such kernel."""
    output, argmax_y, argmax_x = results
    output.zero_()
    argmax_y.fill_(_NONE)
    argmax_x.fill_(_NONE)

    corners = rois[:, 1:] * spatial_scale - (0.5 if aligned else 0.0)
    start = corners[:, :2].flip(1)  # (K, 2) as y, x
    extent = corners[:, 2:].flip(1) - start
    if not aligned:
        extent = extent.clamp(min=1)
    bins = extent / extent.new_tensor(size)
    samples = torch.full_like(bins, sampling_ratio) if sampling_ratio > 0 else bins.ceil()

    for k, (image, rows, columns) in enumerate(torch.cat((rois[:, :1], samples), dim=1).long().tolist()):
        if rows < 1 or columns < 1:
            continue
        y = _sample_positions(start[k, 0], bins[k, 0], size[0], rows)
        x = _sample_positions(start[k, 1], bins[k, 1], size[1], columns)
        greatest, row, column = _bin_maxima(_bilinear_grid(features[image], y, x), rows, columns)
        output[k] = greatest
        argmax_y[k] = _in_bins(y, row, dim=0)
        argmax_x[k] = _in_bins(x, column, dim=1)


def _sample_positions(start: Tensor, bin_size: Tensor, bins: int, samples: int) -> Tensor:
    """The coordinates (bins, samples) of the samples along one axis: centres of equal parts of each bin."""
    bin_index = torch.arange(bins, device=start.device, dtype=start.dtype)[:, None]
    sample = torch.arange(samples, device=start.device, dtype=start.dtype)
    return start + bin_index * bin_size + (sample + 0.5) * bin_size / samples


def _bilinear_grid(image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """The samples (C, Y, X) of an image (C, H, W) at each pair of Y coordinates y and X coordinates x."""
    low, high, fraction, y_inside = _neighbours(y.flatten(), image.shape[1])
    fraction = fraction[:, None]
    lines = image[:, low] * (1 - fraction) + image[:, high] * fraction  # (C, Y, W)
    low, high, fraction, x_inside = _neighbours(x.flatten(), image.shape[2])
    samples = lines[:, :, low] * (1 - fraction) + lines[:, :, high] * fraction
    return torch.where(y_inside[:, None] & x_inside, samples, 0)


def _neighbours(position: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Along one axis: the pixels below and above a position, the share of the latter, whether it is inside.

    The edge pixels extend by one pixel outwards; what is farther out is not inside.
    """
    inside = (position >= -1) & (position <= length)
    position = torch.where(inside, position, 0).clamp(0, length - 1)
    low = position.long()
    return low, (low + 1).clamp(max=length - 1), position - low, inside


def _max_align_gradient(
    grad_output: Tensor, rois: Tensor, argmax_y: Tensor, argmax_x: Tensor, shape: torch.Size
) -> Tensor:
    """Each bin's gradient, spread over the four pixels around its greatest sample."""
    _, channels, height, width = shape
    y_low, y_high, y_fraction, y_inside = _neighbours(full_precision(argmax_y), height)  # (K, C, ph, pw)
    x_low, x_high, x_fraction, x_inside = _neighbours(full_precision(argmax_x), width)
    grad = grad_output * (y_inside & x_inside & (argmax_y != _NONE))

    image = rois[:, 0].long().view(-1, 1, 1, 1)
    channel = torch.arange(channels, device=rois.device).view(1, -1, 1, 1)
    grad_input = grad.new_zeros(shape)
    for y, y_weight in ((y_low, 1 - y_fraction), (y_high, y_fraction)):
        for x, x_weight in ((x_low, 1 - x_fraction), (x_high, x_fraction)):
            grad_input.index_put_((image, channel, y, x), grad * y_weight * x_weight, accumulate=True)
    return grad_input


def _pixel_bins(start: Tensor, extent: Tensor, bins: int, length: int) -> tuple[Tensor, Tensor]:
    """(K, 1), (K, 1) -> each bin's first pixel and the one after its last, (K, bins), cut to the image."""
    bin_index = torch.arange(bins, device=start.device)
    bin_size = extent / bins
    first = (bin_index * bin_size + start).floor().clamp(0, length).long()
    end = ((bin_index + 1) * bin_size + start).ceil().clamp(0, length).long()
    return first, end


def _bin_pixels(first: Tensor, end: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The pixels (bins, count) from each bin's first on, 0 past its end, and which are inside the bin."""
    pixel = first[:, None] + torch.arange(count, device=first.device)
    inside = pixel < end[:, None]
    return torch.where(inside, pixel, 0), inside


def _bin_maxima(values: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """(C, ph * rows, pw * columns) -> the maximum of each bin and its row and column there, (C, ph, pw) each.

    Of equal maxima the first in reading order is taken.
    """
    channels, height, width = values.shape
    by_bin = values.view(channels, height // rows, rows, width // columns, columns).transpose(2, 3)
    greatest, index = by_bin.flatten(3).max(dim=3)
    return greatest, index // columns, index % columns


def _in_bins(coordinates: Tensor, index: Tensor, dim: int) -> Tensor:
    """Each bin's entry `index` (C, ph, pw) of the coordinates (bins, entries) along one axis; dim 0 is y."""
    bin_index = torch.arange(len(coordinates), device=coordinates.device)
    return coordinates[bin_index[:, None] if dim == 0 else bin_index, index]

"""Parts of images resized to one size, for whole batches: random ones to train on, the centre to evaluate on.

Resizing is bilinear with antialiasing, as in torchvision: output pixel i of ``size`` over a part of ``length`` pixels
is the mean of the pixels j of that part, weighted by a triangle around (i + 1/2) * length / size that reaches
max(length / size, 1) to either side; pixels outside the part have no weight.

Pixels are whole numbers, and so are the weights once they are multiplied by 2 * max(length, size) * size. Sums of up to
4096 pixels over outputs of 8 or more stay below 2**53, so that float64 holds them exactly, in whatever order a device
adds: there is one rounding, at the end, and an image has the same bits on every device and in every precision.
"""

from __future__ import annotations

import numpy as np
import torch

TRIES = 10


def draw_boxes(
    generator: np.random.Generator,
    count: int,
    height: int | np.ndarray,
    width: int | np.ndarray,
    *,
    scale: tuple[float, float],
    aspect: tuple[float, float],
) -> np.ndarray:
    """Draw the parts of ``count`` images: int64 (count, 4), top, left, height, width.

    As in the GoogLeNet paper and torchvision's RandomResizedCrop: an area evenly from ``scale`` of the image's, a ratio
    of width to height evenly in its logarithm from ``aspect``, the first of ten tries that fits into the image, at an
    even place. Where none fits: the largest part in the centre whose ratio is inside ``aspect``. An image takes 22
    numbers of the generator, so what is drawn together or in blocks is the same.

    Args:
        generator: the stream ``scale-crop`` of an epoch.
        count: number of images.
        height: of all images, or of each.
        width: of all images, or of each.
        scale: lowest and highest share of the area.
        aspect: lowest and highest ratio of width to height.
    """
    height, width = (np.broadcast_to(np.asarray(side, np.float64), count) for side in (height, width))
    uniform = generator.random((count, 2 * TRIES + 2))
    low, high = np.log(aspect)
    areas = (height * width)[:, None] * (scale[0] + (scale[1] - scale[0]) * uniform[:, :TRIES])
    ratios = np.exp(low + (high - low) * uniform[:, TRIES : 2 * TRIES])
    widths, heights = np.rint(np.sqrt(areas * ratios)), np.rint(np.sqrt(areas / ratios))  # (count, TRIES)
    fits = (widths > 0) & (heights > 0) & (widths <= width[:, None]) & (heights <= height[:, None])
    some, first = fits.any(axis=1), fits.argmax(axis=1)
    each = np.arange(count)
    box_height = np.where(some, heights[each, first], np.minimum(height, np.rint(width / aspect[0])))
    box_width = np.where(some, widths[each, first], np.minimum(width, np.rint(height * aspect[1])))
    free_height, free_width = height - box_height, width - box_width
    top = np.where(some, np.floor(uniform[:, -2] * (free_height + 1)), free_height // 2)
    left = np.where(some, np.floor(uniform[:, -1] * (free_width + 1)), free_width // 2)
    return np.stack([top, left, box_height, box_width], axis=1).astype(np.int64)


def resized_crops(images: torch.Tensor, boxes: torch.Tensor, mirrored: torch.Tensor, size: int) -> torch.Tensor:
    """Resize a part of each image and mirror it left to right where told.

    Args:
        images: uint8 (B, C, H, W).
        boxes: int64 (B, 4), as ``draw_boxes`` gives them.
        mirrored: bool (B,).
        size: side of the square that comes out.

    Returns:
        float32 (B, C, size, size), in [0, 1].
    """
    top, left, height, width = boxes.unbind(dim=1)
    along = torch.arange(size, device=images.device).expand(len(images), size)
    columns = torch.where(mirrored[:, None], size - 1 - along, along)
    rows = _weights(along, top, height, images.shape[2], size)  # (B, size, H)
    return _weighted(images, rows, _weights(columns, left, width, images.shape[3], size))


def centres(images: torch.Tensor, resize: int | None, crop: int | None) -> torch.Tensor:
    """Resize the shorter side of images and cut out their centre, as torchvision's Resize and CenterCrop do.

    Args:
        images: uint8 (B, C, H, W).
        resize: pixels of the shorter side; None leaves the size.
        crop: side of the square in the centre, not larger than the image is then; None leaves the whole image.

    Returns:
        float32 (B, C, height, width), in [0, 1].
    """
    sides = height, width = images.shape[2], images.shape[3]
    if resize is not None:
        short, long = min(sides), max(sides)
        height, width = (resize if side == short else int(resize * long / short) for side in sides)
    top, left = (0, 0) if crop is None else (round((height - crop) / 2), round((width - crop) / 2))
    bottom, right = (height, width) if crop is None else (top + crop, left + crop)
    if resize is None:
        return images[:, :, top:bottom, left:right].to(torch.float32) / 255
    device, start = images.device, torch.zeros(1, dtype=torch.int64, device=images.device)
    rows = _weights(torch.arange(top, bottom, device=device)[None], start, start + sides[0], sides[0], height)
    columns = _weights(torch.arange(left, right, device=device)[None], start, start + sides[1], sides[1], width)
    return _weighted(images, rows, columns)


def _weights(outputs: torch.Tensor, start: torch.Tensor, length: torch.Tensor, extent: int, size: int) -> torch.Tensor:
    """Return the weight of each of ``extent`` pixels in each of ``outputs`` (B, O): whole numbers, (B, O, extent).

    The pixels from ``start`` (B,) on, ``length`` (B,) of them, are resized to ``size``; the weights are float64.
    """
    start, length = start[:, None, None], length[:, None, None]
    inside = torch.arange(extent, device=outputs.device) - start  # (B, 1, extent), counted from the start of the part
    distance = (size * (2 * inside + 1) - length * (2 * outputs[:, :, None] + 1)).abs()
    triangle = (2 * length.clamp(min=size) - distance).clamp(min=0)
    return torch.where((inside >= 0) & (inside < length), triangle, 0).to(torch.float64)


def _weighted(images: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Take the weighted mean over rows (B, O, H) and columns (B, P, W) of each channel: float32 (B, C, O, P)."""
    sums = rows[:, None] @ images.to(torch.float64) @ columns[:, None].mT
    weights = rows.sum(dim=2)[:, None, :, None] * columns.sum(dim=2)[:, None, None, :]
    return (sums / (255 * weights)).to(torch.float32)

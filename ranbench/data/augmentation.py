"""Which images a step sees, and how they are changed: drawn per run, applied to whole batches on any device.

The stream of images is one shuffled pass after the other without a break, so that every batch is full and an epoch of
50,000 images at batch 64 has 781.25 iterations, as the paper's framework reads its data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from ranbench.data.streams import stream


@dataclass(frozen=True)
class Draw:
    """For each image of a batch: its index, the corner of its crop (rows, columns) and whether it is mirrored; (B,)."""

    index: torch.Tensor
    top: torch.Tensor
    left: torch.Tensor
    mirrored: torch.Tensor


@dataclass(frozen=True)
class _Epoch:
    number: int
    order: np.ndarray
    corner: np.ndarray
    mirrored: np.ndarray


class BatchOrder:
    """Draws the batches of a run; a pure function of seed and step, kept for one epoch at a time."""

    def __init__(self, num_images: int, batch: int, seed: int, *, pad: int, flip: bool):
        self.num_images, self.batch, self.seed = num_images, batch, seed
        self.pad, self.flip = pad, flip
        self._epochs: dict[int, _Epoch] = {}

    def draw(self, step: int) -> Draw:
        """Return the images of iteration ``step`` (from 0): positions step * batch and on in the stream."""
        positions = np.arange(step * self.batch, (step + 1) * self.batch)
        first, last = positions[0] // self.num_images, positions[-1] // self.num_images
        parts = [self._part(number, positions) for number in range(first, last + 1)]
        index, corner, mirrored = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return Draw(
            torch.from_numpy(index),
            torch.from_numpy(corner[:, 0]),
            torch.from_numpy(corner[:, 1]),
            torch.from_numpy(mirrored),
        )

    def _part(self, number: int, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        epoch = self._epoch(number)
        inside = positions[positions // self.num_images == number] - number * self.num_images
        return epoch.order[inside], epoch.corner[inside], epoch.mirrored[inside]

    def _epoch(self, number: int) -> _Epoch:
        if number not in self._epochs:
            n = self.num_images
            self._epochs = {key: epoch for key, epoch in self._epochs.items() if key >= number - 1}
            corner = stream(self.seed, "crop", number).integers(0, 2 * self.pad + 1, size=(n, 2))
            coin = stream(self.seed, "flip", number).integers(0, 2, size=n, dtype=np.uint8)
            mirrored = coin.astype(bool) if self.flip else np.zeros(n, bool)
            self._epochs[number] = _Epoch(number, stream(self.seed, "order", number).permutation(n), corner, mirrored)
        return self._epochs[number]


class Preparation:
    """uint8 (N, C, H, W) -> float32 (B, C, H, W), channels last: pixels in [0, 1], minus the mean, zero padding, crop.

    The mean is subtracted before the padding, so that the border is the mean image's zero. The paper gives neither this
    order nor the meaning of its "per-pixel RGB mean": here it is the C x H x W mean of the training images, as the
    protocol that it cites has it.
    """

    def __init__(self, train_images: torch.Tensor, *, mean: str, pad: int):
        self.pad = pad
        self.mean = (
            (train_images.sum(dim=0, dtype=torch.int64).to(torch.float64) / len(train_images) / 255).to(torch.float32)
            if mean == "image"
            else torch.zeros(train_images.shape[1:], device=train_images.device)
        )

    def plain(self, images: torch.Tensor) -> torch.Tensor:
        """Prepare whole images for evaluation."""
        pixels = images.to(torch.float32) / 255 - self.mean
        return pixels.contiguous(memory_format=torch.channels_last)

    def augmented(self, images: torch.Tensor, draw: Draw) -> torch.Tensor:
        """Prepare the images of a draw: one gather takes the crop, mirrored where the draw says so."""
        device = images.device
        pixels = functional.pad(self.plain(images[draw.index.to(device)]), [self.pad] * 4)
        height, width = images.shape[2:]
        mirrored = draw.mirrored.to(device).unsqueeze(1)
        along = torch.arange(width, device=device).unsqueeze(0)
        columns = draw.left.to(device).unsqueeze(1) + torch.where(mirrored, width - 1 - along, along)  # (B, W)
        rows = draw.top.to(device).unsqueeze(1) + torch.arange(height, device=device)  # (B, H)
        batch = torch.arange(len(pixels), device=device)[:, None, None]
        cropped = pixels.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
        return cropped.permute(0, 3, 1, 2)  # channels last in memory

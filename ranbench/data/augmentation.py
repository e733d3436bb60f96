"""Which images a step sees, and how they are changed: drawn per run, applied to whole batches on any device.

The stream of images is one shuffled pass after the other without a break, so that every batch is full and an epoch of
50,000 images at batch 64 has 781.25 iterations, as the paper's framework reads its data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np
import torch

from ranbench.data.images import ImageSet
from ranbench.data.streams import stream
from ranbench.spec import Augmentation


@dataclass(frozen=True)
class Draw:
    """For each image: its index, the corner of its crop (rows, columns) and whether it is mirrored.

    All of one shape: (B,) for a batch, (S, B) for the batches of S iterations.
    """

    index: torch.Tensor
    top: torch.Tensor
    left: torch.Tensor
    mirrored: torch.Tensor

    @property
    def rows(self) -> tuple[torch.Tensor, ...]:
        """All its tensors, in one order."""
        return (self.index, self.top, self.left, self.mirrored)

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Draw:
        """Return a draw whose tensors are changed."""
        return Draw(*map(change, self.rows))


@dataclass(frozen=True)
class _Epoch:
    number: int
    order: np.ndarray
    corner: np.ndarray
    mirrored: np.ndarray


class BatchOrder:
    """Draws the batches of a run; a pure function of seed and step, kept for two epochs at a time."""

    def __init__(self, num_images: int, batch: int, seed: int, *, pad: int, flip: bool):
        self.num_images, self.batch, self.seed = num_images, batch, seed
        self.pad, self.flip = pad, flip
        self._epochs: dict[int, _Epoch] = {}

    def draw(self, step: int) -> Draw:
        """Return the images of iteration ``step`` (from 0), (B,): positions step * batch and on in the stream."""
        return self.block(step, 1).map(lambda rows: rows[0])

    def block(self, first: int, count: int) -> Draw:
        """Return the images of ``count`` iterations from ``first`` on, (count, B)."""
        positions = np.arange(first * self.batch, (first + count) * self.batch)
        numbers = range(positions[0] // self.num_images, positions[-1] // self.num_images + 1)
        parts = [self._part(number, positions) for number in numbers]
        index, corner, mirrored = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        rows = (index, corner[:, 0], corner[:, 1], mirrored)
        return Draw(*(torch.from_numpy(np.ascontiguousarray(row).reshape(count, self.batch)) for row in rows))

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


_SHARED: WeakKeyDictionary[ImageSet, dict[Augmentation, Preparation]] = WeakKeyDictionary()
_SHARING = Lock()


class Preparation:
    """uint8 (N, C, H, W) -> float32 (B, C, H, W), channels last: pixels in [0, 1], minus the mean, zero padding, crop.

    The mean is subtracted before the padding, so that the border is the mean image's zero. The paper gives neither this
    order nor the meaning of its "per-pixel RGB mean": here it is the C x H x W mean of the training images, as the
    protocol that it cites has it.

    The training images are held once more with their padding, and once mirrored where there are flips, so that a crop
    is one gather of whole rows of pixels. Nothing here depends on a run: all runs of a process share one of these.
    """

    def __init__(self, train_images: torch.Tensor, *, mean: str, pad: int, flip: bool):
        self.pad = pad
        self.mean = (
            (train_images.sum(dim=0, dtype=torch.int64).to(torch.float64) / len(train_images) / 255).to(torch.float32)
            if mean == "image"
            else torch.zeros(train_images.shape[1:], device=train_images.device)
        )
        self._images = _Windows(train_images, pad, flip=flip)
        # the mean as each crop sees it: a table over mirrored, top and left is small, and quicker than cropping it
        self._means = _Windows(self.mean.unsqueeze(0), pad, flip=flip).all()

    @classmethod
    def of(cls, images: ImageSet, augmentation: Augmentation) -> Preparation:
        """Return the preparation of a dataset that all runs on its device share; made once, kept with the images."""
        with _SHARING:
            made = _SHARED.setdefault(images, {})
            if augmentation not in made:
                made[augmentation] = cls(
                    images.train_images, mean=augmentation.mean, pad=augmentation.pad, flip=augmentation.flip
                )
            return made[augmentation]

    def plain(self, images: torch.Tensor) -> torch.Tensor:
        """Prepare whole images for evaluation."""
        pixels = images.to(torch.float32) / 255 - self.mean
        return pixels.contiguous(memory_format=torch.channels_last)

    def augmented(self, draw: Draw) -> torch.Tensor:
        """Prepare the training images of a draw that lies on their device."""
        crops = self._images.take(draw).to(torch.float32).div_(255)
        side = 2 * self.pad + 1
        window = (draw.mirrored * side + draw.top) * side + draw.left
        return crops.sub_(self._means.index_select(0, window)).permute(0, 3, 1, 2)  # channels last in memory


class _Windows:
    """Every crop of padded images, as rows of pixels that lie one after the other in memory."""

    def __init__(self, images: torch.Tensor, pad: int, *, flip: bool):
        self.count, self.channels, self.height, self.width = images.shape
        self.pad, self.flip = pad, flip
        self.down, self.across = self.height + 2 * pad, self.width + 2 * pad
        copies = 2 if flip else 1  # the second one is mirrored
        held = images.new_zeros(copies, self.count, self.down, self.across, self.channels)
        inner = (slice(None), slice(pad, pad + self.height), slice(pad, pad + self.width))
        held[0][inner] = images.permute(0, 2, 3, 1)
        if flip:
            held[1] = held[0].flip(2)
        self._lines = torch.arange(self.height, device=images.device) * self.across
        # row p: the W pixels that begin at pixel p of the whole; these rows overlap
        starts = copies * self.count * self.down * self.across - self.width + 1
        self._rows = held.flatten().as_strided((starts, self.width * self.channels), (self.channels, 1))

    def take(self, draw: Draw) -> torch.Tensor:
        """Return the crops of a draw, (B, H, W, C); a mirrored one is read from the mirrored images."""
        left = torch.where(draw.mirrored, 2 * self.pad - draw.left, draw.left)
        image = draw.mirrored * self.count + draw.index
        first = (image * self.down + draw.top) * self.across + left
        rows = (first.unsqueeze(1) + self._lines).flatten()
        return self._rows.index_select(0, rows).view(len(first), self.height, self.width, self.channels)

    def all(self) -> torch.Tensor:
        """Return all crops of the first image, in the order of mirrored, top and left: (windows, H, W, C)."""
        side = torch.arange(2 * self.pad + 1, device=self._lines.device)
        mirrored = torch.tensor([False, True] if self.flip else [False], device=self._lines.device)
        coins, top, left = torch.cartesian_prod(mirrored.long(), side, side).unbind(1)
        return self.take(Draw(torch.zeros_like(top), top, left, coins.bool()))

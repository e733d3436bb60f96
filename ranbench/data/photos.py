"""A dataset in files, too large to be held, with images of many sizes: which they are. Reading them is elsewhere."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ranbench.data.images import ImageSet


@dataclass(frozen=True, eq=False)
class Photos:
    """The images of one part in their order; ``names`` are paths under ``root``, as bytes, which workers get fast."""

    root: Path
    names: np.ndarray

    @classmethod
    def of(cls, root: Path, names: list[str]) -> Photos:
        """Return the images of these names."""
        return cls(root, np.array([os.fsencode(name) for name in names], dtype=np.bytes_))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.names)

    def name(self, index: int) -> str:
        """Return the path of an image under the root."""
        return os.fsdecode(self.names[index])

    def path(self, index: int) -> Path:
        """Return where an image lies."""
        return self.root / self.name(index)


@dataclass(frozen=True, eq=False)  # as ``ImageSet``, whose place it takes
class PhotoSet:
    """Images in files, with labels as int64 (N,).

    ``side``: of the square that the net is trained on. ``mean`` and ``std`` of red, green and blue, in [0, 1], over the
    pixels of the training images.
    """

    train_images: Photos
    train_labels: torch.Tensor
    test_images: Photos
    test_labels: torch.Tensor
    num_classes: int
    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width of one image as the net is trained on it."""
        return 3, self.side, self.side

    def to(self, device: torch.device) -> PhotoSet:
        """Return the same images with labels on ``device``: this object where they are there already."""
        train, test = self.train_labels.to(device), self.test_labels.to(device)
        if train is self.train_labels and test is self.test_labels:
            return self
        return replace(self, train_labels=train, test_labels=test)


Images = ImageSet | PhotoSet

"""A dataset in memory, as all loaders return it."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)  # one object, one dataset: what runs share is kept by it
class ImageSet:
    """Images as uint8 (N, C, H, W), labels as int64 (N,)."""

    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor
    num_classes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width of one image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    def to(self, device: torch.device) -> ImageSet:
        """Return the same images on ``device``: this object where they are there already."""
        train, test = self.train_images.to(device), self.test_images.to(device)
        # not by comparing devices: "cuda" and "cuda:0" are one, and differ
        if train is self.train_images and test is self.test_images:
            return self
        return ImageSet(train, self.train_labels.to(device), test, self.test_labels.to(device), self.num_classes)

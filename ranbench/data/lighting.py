"""Colour augmentation of AlexNet: the pixels of an image are shifted along the principal components of ImageNet's.

Eigenvalues and -vectors of RGB over ImageNet's training pixels in [0, 1] are those of the public training code of
facebook/fb.resnet.torch (datasets/imagenet.lua), which many later repositories copy; so is the amplitude of 0.1, the
standard deviation of AlexNet's paper. A pixel may leave [0, 1], there as here.
"""

from __future__ import annotations

import numpy as np
import torch

AMPLITUDE = 0.1
EIGENVALUES = np.array([0.2175, 0.0188, 0.0045])
EIGENVECTORS = np.array(  # one in each column; rows are red, green, blue
    [
        [-0.5675, 0.7192, 0.4009],
        [-0.5808, -0.0045, -0.8140],
        [-0.5836, -0.6948, 0.4203],
    ]
)


def draw_shifts(generator: np.random.Generator, count: int) -> np.ndarray:
    """Draw what is added to red, green and blue of ``count`` images: float32 (count, 3).

    Args:
        generator: the stream ``colour`` of an epoch.
        count: number of images.
    """
    amounts = AMPLITUDE * generator.standard_normal((count, 3)) * EIGENVALUES
    shifts: np.ndarray = (amounts[:, None, :] * EIGENVECTORS).sum(axis=2)
    return shifts.astype(np.float32)


def lit(images: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """Add the shifts (B, 3) to images (B, 3, H, W) with pixels in [0, 1]."""
    return images + shifts[:, :, None, None]

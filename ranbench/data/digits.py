"""scikit-learn's 8x8 handwritten digits: real, embedded in the library, offline."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch

from ranbench.data.images import ImageSet
from ranbench.errors import DataError
from ranbench.spec import DataSpec

LEVELS = 16  # the original grey values run from 0 to 16
SPLIT_SEED = 0


def load_digits(spec: DataSpec, root: Path) -> ImageSet:
    """Load the digits with the split of ``spec``: stratified by class, shuffled once with a fixed seed.

    Grey values are spread to 0..255, so that they are images like any other.

    Raises:
        DataError: the installed scikit-learn ships other digits than the checksum says.
    """
    del root  # nothing is read from a folder
    images, labels = _embedded()
    check_digits(images, labels, spec.checksum)
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(
        np.arange(len(labels)),
        train_size=spec.train_images,
        test_size=spec.test_images,
        stratify=labels,
        random_state=SPLIT_SEED,
    )
    pixels = torch.from_numpy(np.rint(images * (255 / LEVELS)).astype(np.uint8)).unsqueeze(1)  # (N, 1, 8, 8)
    targets = torch.from_numpy(labels.astype(np.int64))
    return ImageSet(pixels[train], targets[train], pixels[test], targets[test], num_classes=10)


def check_digits(images: np.ndarray, labels: np.ndarray, checksum: str) -> None:
    """Compare the content with ``checksum`` (``sha256:...``).

    Raises:
        DataError: they differ.
    """
    content = images.astype(np.uint8).tobytes() + labels.astype(np.uint8).tobytes()
    found = "sha256:" + hashlib.sha256(content).hexdigest()
    if found != checksum:
        raise DataError(f"digits: the installed scikit-learn has other images: {found}, expected {checksum}")


def verify_digits(root: Path) -> str:
    """Check the embedded content; return what was checked in words."""
    from ranbench.catalogue import dataset_info

    del root
    images, labels = _embedded()
    check_digits(images, labels, dataset_info("digits").checksum)
    return "embedded in scikit-learn, sha256 as expected"


def _embedded() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits as embedded

    bunch = embedded()
    return bunch.images, bunch.target

"""Datasets, augmentation on the device, label noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ranbench.data.cifar import fetch_cifar10, load_cifar10, verify_cifar10
from ranbench.data.digits import load_digits, verify_digits
from ranbench.data.images import ImageSet
from ranbench.spec import DataSpec

__all__ = ["LOADERS", "ImageSet", "Loader", "load"]


@dataclass(frozen=True)
class Loader:
    """How a dataset is loaded and verified, and fetched where it is not embedded."""

    load: Callable[[DataSpec, Path], ImageSet]
    verify: Callable[[Path], str]
    fetch: Callable[[Path, str | None], str] | None


LOADERS: Mapping[str, Loader] = {
    "cifar10": Loader(load_cifar10, verify_cifar10, fetch_cifar10),
    "digits": Loader(load_digits, verify_digits, None),
}


def load(spec: DataSpec, root: Path) -> ImageSet:
    """Load the dataset of ``spec`` from the folder ``root``.

    Raises:
        DataError: it is missing or damaged.
    """
    return LOADERS[spec.name].load(spec, root)

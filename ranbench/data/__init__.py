"""Datasets, augmentation on the device, label noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ranbench.data.cifar import CIFAR_10, CIFAR_100
from ranbench.data.digits import load_digits, verify_digits
from ranbench.data.imagenet import fetch_imagenet, load_imagenet, verify_imagenet
from ranbench.data.images import ImageSet
from ranbench.data.own import load_own
from ranbench.spec import DataSpec

__all__ = ["LOADERS", "ImageSet", "Loader", "load"]


@dataclass(frozen=True)
class Loader:
    """How a dataset is loaded and verified, and fetched where it is not embedded.

    ``is_there`` tells whether anything of it lies in a folder, good or not.
    """

    load: Callable[[DataSpec, Path], ImageSet]
    verify: Callable[[Path], str]
    fetch: Callable[[Path, str | None], str] | None
    is_there: Callable[[Path], bool]


LOADERS: Mapping[str, Loader] = {
    **{cifar.name: Loader(cifar.load, cifar.verify, cifar.fetch, cifar.is_there) for cifar in (CIFAR_10, CIFAR_100)},
    "imagenet": Loader(load_imagenet, verify_imagenet, fetch_imagenet, lambda _: False),
    "digits": Loader(load_digits, verify_digits, None, lambda _: True),
}


def load(spec: DataSpec, root: Path, *, trusted: bool = False) -> ImageSet:
    """Load the dataset of ``spec`` from the folder ``root``; ``trusted``: the code of a user's own may be run.

    Raises:
        DataError: it is missing or damaged, or this version cannot load it.
        SpecError: a user's own is not trusted, or cannot be imported.
    """
    if spec.factory:
        return load_own(spec, root, trusted=trusted)
    return LOADERS[spec.name].load(spec, root)

"""Datasets, augmentation on the device, label noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ranbench.catalogue import IMAGE_FOLDER
from ranbench.data.cifar import CIFAR_10, CIFAR_100
from ranbench.data.digits import load_digits, verify_digits
from ranbench.data.folders import fetch_folder, folder_is_there, glance_at_folder, load_folder, verify_folder
from ranbench.data.imagenet import fetch_imagenet, glance_at_imagenet, is_there, load_imagenet, verify_imagenet
from ranbench.data.images import ImageSet
from ranbench.data.own import load_own
from ranbench.data.photos import Images, PhotoSet
from ranbench.spec import DataSpec

__all__ = ["LOADERS", "ImageSet", "Images", "Loader", "PhotoSet", "load"]


@dataclass(frozen=True)
class Loader:
    """How a dataset is loaded and verified, and fetched where it is not embedded.

    ``is_there`` tells whether anything of it lies in a folder, good or not; ``glance`` says in words what, without a
    look into every image, where that takes long. ``contents`` yields every file by its path within the folder, of a
    dataset that is small enough to be carried to other machines, after a check.
    """

    load: Callable[[DataSpec, Path], Images]
    verify: Callable[[Path], str]
    fetch: Callable[[Path, str | None], str] | None
    is_there: Callable[[Path], bool]
    glance: Callable[[Path], str] | None = None
    contents: Callable[[Path], Iterator[tuple[str, bytes]]] | None = None


LOADERS: Mapping[str, Loader] = {
    **{
        cifar.name: Loader(cifar.load, cifar.verify, cifar.fetch, cifar.is_there, contents=cifar.contents)
        for cifar in (CIFAR_10, CIFAR_100)
    },
    "imagenet": Loader(load_imagenet, verify_imagenet, fetch_imagenet, is_there, glance_at_imagenet),
    "digits": Loader(load_digits, verify_digits, None, lambda _: True),
    IMAGE_FOLDER: Loader(load_folder, verify_folder, fetch_folder, folder_is_there, glance_at_folder),
}


def load(spec: DataSpec, root: Path, *, trusted: bool = False) -> Images:
    """Load the dataset of ``spec`` from the folder ``root``; ``trusted``: the code of a user's own may be run.

    Raises:
        DataError: it is missing or damaged.
        SpecError: a user's own is not trusted, or cannot be imported.
    """
    if spec.factory:
        return load_own(spec, root, trusted=trusted)
    return LOADERS[spec.name].load(spec, root)

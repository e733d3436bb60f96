"""A user's own dataset: what a factory gives, checked, with the checksum by which a suite knows it.

The factory is called as ``factory(folder=...)``, the folder of the datasets, and returns a mapping:

- ``train_images``, ``test_images``: uint8, N x C x H x W, as numpy arrays or torch tensors;
- ``train_labels``, ``test_labels``: whole numbers from 0, one for each image;
- ``num_classes``, where not every class has an image: without it, the largest label and one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch

from ranbench.catalogue import MOST_CLASSES, Form, manifest_command
from ranbench.data.images import ImageSet
from ranbench.errors import DataError, nearest
from ranbench.factories import call_factory, said
from ranbench.spec import MAX_INPUT, DataSpec, Facts

PARTS = ("train", "test")
ARRAYS = tuple(f"{part}_{kind}" for part in PARTS for kind in ("images", "labels"))
CLASSES = "num_classes"
KEYS = (*ARRAYS, CLASSES)


def load_own(spec: DataSpec, root: Path, *, trusted: bool) -> ImageSet:
    """Make a user's own dataset by its factory.

    Raises:
        SpecError: it is not trusted, or cannot be imported.
        DataError: the factory fails, what it gives is no dataset, or is another one than the spec says.
    """
    assert spec.facts is not None
    images = made(spec.name, root, trusted=trusted)
    _check_equal(spec, spec.facts, images)
    return images


def manifest(name: str, root: Path, form: Form | None, *, trusted: bool) -> DataSpec:
    """Make a user's own dataset and return its facts, as a suite states them.

    Args:
        name: of the factory.
        root: folder of the datasets.
        form: which form of the nets it is for; by the size of its images where it is None.
        trusted: its code may be run.

    Raises:
        SpecError, DataError: as ``load_own``.
    """
    images = made(name, root, trusted=trusted)
    chosen = form or usual_form(images.shape)
    return DataSpec(
        name=name,
        checksum=checksum(images),
        train_images=len(images.train_images),
        test_images=len(images.test_images),
        facts=Facts(form=chosen, shape=images.shape, classes=images.num_classes),
    )


def usual_form(shape: tuple[int, int, int]) -> Form:
    """Return the form whose nets are made for images of about this size."""
    side = min(shape[1:])
    if side < 16:
        return "digits"
    return "cifar" if side <= 64 else "imagenet"


def checksum(images: ImageSet) -> str:
    """Return the sha256 of the content: sizes, pixels and labels of both parts, in their order."""
    total = hashlib.sha256()
    parts = ((images.train_images, images.train_labels), (images.test_images, images.test_labels))
    for part, (pixels, labels) in zip(PARTS, parts, strict=True):
        total.update(f"{part} {'x'.join(map(str, pixels.shape))}\0".encode())
        total.update(pixels.numpy().data)
        total.update(labels.numpy().astype("<i8").tobytes())
    return f"sha256:{total.hexdigest()}"


def made(name: str, root: Path, *, trusted: bool) -> ImageSet:
    """Call the factory ``name`` and check what it gives, on the way to one form.

    Raises:
        SpecError, DataError: as ``load_own``.
    """
    given = call_factory("dataset", name, trusted=trusted, folder=root)
    if not isinstance(given, Mapping):
        raise _fault(name, f"expected a mapping with {', '.join(ARRAYS)} from the factory, got {type(given).__name__}")
    try:  # what numpy.load gives of a file of arrays is read here
        with given if isinstance(given, AbstractContextManager) else nullcontext():
            given = dict(given)
    except Exception as error:  # whatever a user's object raises is the user's to mend
        raise _fault(name, f"what the factory gives cannot be read: {said(error)}") from error
    for key in given:
        if key not in KEYS:
            raise _fault(name, f"unknown key {key!r}{nearest(str(key), KEYS)} (allowed: {', '.join(KEYS)})")
    missing = [key for key in ARRAYS if key not in given]
    if missing:
        raise _fault(name, f"the factory gives no {' and no '.join(missing)}")
    images = {part: _images(name, f"{part}_images", given[f"{part}_images"]) for part in PARTS}
    labels = {part: _labels(name, f"{part}_labels", given[f"{part}_labels"]) for part in PARTS}
    for part in PARTS:
        if len(images[part]) != len(labels[part]):
            raise _fault(name, f"{len(images[part])} {part}_images and {len(labels[part])} {part}_labels")
    train, test = (images[part].shape[1:] for part in PARTS)
    if train != test:
        raise _fault(name, f"train_images are {_size(train)} (channels, height, width), test_images {_size(test)}")
    largest = max(int(found.max()) for found in labels.values())
    return ImageSet(
        torch.from_numpy(images["train"]),
        torch.from_numpy(labels["train"]),
        torch.from_numpy(images["test"]),
        torch.from_numpy(labels["test"]),
        num_classes=_classes(name, given.get(CLASSES), largest),
    )


def _images(name: str, key: str, value: object) -> np.ndarray:
    """uint8 (N, C, H, W), contiguous and writable, which torch wants."""
    array = _array(name, key, value)
    if array.dtype != np.uint8:
        raise _fault(name, f"{key}: expected pixels of uint8, from 0 to 255, got {array.dtype}")
    if array.ndim != 4:
        hint = "; grey images have one channel: images[:, None]" if array.ndim == 3 else ""
        raise _fault(name, f"{key}: expected N x C x H x W, got {_size(array.shape)}{hint}")
    if 0 in array.shape:
        raise _fault(name, f"{key}: there are no images, or images without a pixel: {_size(array.shape)}")
    channels, height, width = array.shape[1:]
    if width in (1, 3) and channels not in (1, 3):
        raise _fault(
            name,
            f"{key}: expected N x C x H x W, got {_size(array.shape)}, whose channels stand last; "
            "images.transpose(0, 3, 1, 2) puts them second",
        )
    if max(channels, height, width) > MAX_INPUT:
        raise _fault(name, f"{key}: {_size(array.shape)}: at most {MAX_INPUT} pixels a side are allowed")
    return np.require(array, requirements=["C", "W"])


def _labels(name: str, key: str, value: object) -> np.ndarray:
    """int64 (N,), none below zero."""
    array = _array(name, key, value)
    if array.dtype.kind not in "iu":
        raise _fault(name, f"{key}: expected whole numbers, got {array.dtype}")
    if array.ndim != 1:
        raise _fault(name, f"{key}: expected one label for each image, (N,), got {_size(array.shape)}")
    if array.dtype.kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
        raise _fault(name, f"{key}: a label of {array.max()} is larger than any number of classes")
    labels = np.require(array.astype(np.int64), requirements=["C", "W"])
    if len(labels) and labels.min() < 0:
        raise _fault(name, f"{key}: expected labels from 0, got {labels.min()}")
    return labels


def _array(name: str, key: str, value: object) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        try:
            value = value.detach().cpu().numpy()
        except (RuntimeError, TypeError, NotImplementedError) as error:  # sparse, without content, bfloat16 ...
            raise _fault(name, f"{key}: a torch tensor that no numpy array holds: {said(error)}") from None
    if isinstance(value, np.ma.MaskedArray):
        raise _fault(name, f"{key}: expected an array without a mask, got a masked one")
    if not isinstance(value, np.ndarray):
        raise _fault(name, f"{key}: expected a numpy array or a torch tensor, got {type(value).__name__}")
    return value


def _classes(name: str, given: object, largest: int) -> int:
    """The number of classes: what the factory says, else the largest label and one."""
    count = largest + 1 if given is None else given
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or not 2 <= count <= MOST_CLASSES:
        why = f"the largest label is {largest}" if given is None else f"{CLASSES} is {given!r}"
        raise _fault(name, f"{why}; expected 2 to {MOST_CLASSES:,} classes (a predicted class is kept in two bytes)")
    if largest >= count:
        raise _fault(name, f"the largest label is {largest}, but {CLASSES} is {count}; labels are 0 to {count - 1}")
    return int(count)


def _check_equal(spec: DataSpec, facts: Facts, images: ImageSet) -> None:
    """Compare what the factory gave with what the spec says of it."""
    both: tuple[tuple[str, object, object], ...] = (
        ("shape", list(facts.shape), list(images.shape)),
        ("classes", facts.classes, images.num_classes),
        ("train", spec.train_images, len(images.train_images)),
        ("test", spec.test_images, len(images.test_images)),
    )
    differing = [(key, expected, found) for key, expected, found in both if expected != found]
    if not differing:
        content = checksum(images)
        differing = [] if content == spec.checksum else [("checksum", spec.checksum, content)]
    if differing:
        stated = ", ".join(f"{key} {value}" for key, value, _ in differing)
        given = ", ".join(f"{key} {value}" for key, _, value in differing)
        raise _fault(
            spec.name,
            f"expected {stated}, the factory gives {given}: it is another dataset; "
            f"{manifest_command(spec.name)} prints what it is now",
        )


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single number"


def _fault(name: str, text: str) -> DataError:
    return DataError(f"dataset {name!r}: {text}")

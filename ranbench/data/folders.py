"""Images in folders by class, as torchvision's ImageFolder has them: which there are, and which cannot be decoded.

    DIR/imagefolder/train/CLASS/FILE
    DIR/imagefolder/val/CLASS/FILE

An inspection reads and decodes every file once. What it finds is kept beside the images, by size and time of change, so
that the next one looks at changed files only; where that place cannot be written, every inspection reads all again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ranbench.catalogue import IMAGE_FOLDER, MOST_CLASSES, manifest_command
from ranbench.data.decoding import DamagedImage, decoded, read_bytes
from ranbench.data.photos import Photos, PhotoSet
from ranbench.errors import DataError, one_line
from ranbench.spec import DataSpec, Facts

PARTS = ("train", "val")
INDEX = "ranbench-images.json"  # what the last inspection found
SHOWN = 3  # damaged images that a message names
USUAL_SIDE = 224


@dataclass(frozen=True)
class Listing:
    """The images of one part in the order of their names, with the number of the class of each."""

    root: Path
    classes: tuple[str, ...]
    names: list[str]
    labels: list[int]

    def without(self, left_out: Iterable[str]) -> Listing:
        """Return the listing without some names."""
        gone = set(left_out)
        kept = [(name, label) for name, label in zip(self.names, self.labels, strict=True) if name not in gone]
        return Listing(self.root, self.classes, [name for name, _ in kept], [label for _, label in kept])


@dataclass(frozen=True)
class Inspected:
    """What one file holds: sha256 of its bytes, what is wrong with it, else sums over its pixels by channel."""

    size: int
    changed_ns: int
    sha256: str
    fault: str | None = None
    pixels: int = 0
    sums: tuple[int, ...] = (0, 0, 0)
    squares: tuple[int, ...] = (0, 0, 0)


def list_part(dataset: str, folder: Path, part: str) -> Listing:
    """List the images of a part.

    Raises:
        DataError: there is no such folder, no class in it, or a class without an image.
    """
    from torchvision.datasets import ImageFolder

    where = folder / part
    layout = f"expected {where}/CLASS/FILE with a folder for each class"
    if not where.is_dir():
        raise DataError(f"{dataset}: {where}: no such folder; {layout}")
    try:
        found = ImageFolder(str(where))
    except (OSError, ValueError) as error:  # torchvision's own word for no class, and for a class without images
        raise DataError(f"{dataset}: {where}: {one_line(error)}; {layout}") from None
    names = [os.path.relpath(path, where) for path, _ in found.samples]
    return Listing(where, tuple(found.classes), names, [label for _, label in found.samples])


def inspect(listing: Listing, folder: Path, threads: int | None = None) -> dict[str, Inspected]:
    """Look into every file of a part that is new or was changed; return what each holds, by name.

    Args:
        listing: the images.
        folder: of the dataset, where the findings are kept.
        threads: files that are decoded at once; the cores of this process if left out.
    """
    part = listing.root.name
    known = _kept(folder).get(part, {})
    fresh = [name for name in listing.names if not _is_unchanged(listing.root / name, known.get(name))]
    with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:  # decoders leave Python to others
        looked = dict(zip(fresh, pool.map(lambda name: _look(listing.root / name), fresh), strict=True))
    found = {name: looked.get(name) or known[name] for name in listing.names}
    if fresh or found.keys() != known.keys():
        _keep(folder, part, found)
    return found


def faults(found: dict[str, Inspected]) -> dict[str, str]:
    """Return what is wrong with each image that cannot be decoded."""
    return {name: each.fault for name, each in found.items() if each.fault}


def fault_words(damaged: dict[str, str], part: str, total: int) -> str:
    """Count and name damaged images: ``1 of 62 images cannot be decoded: train/b/x.jpg (is empty)``."""
    named = [f"{part}/{name} ({fault})" for name, fault in list(damaged.items())[:SHOWN]]
    more = f" and {len(damaged) - SHOWN:,} more" if len(damaged) > SHOWN else ""
    return f"{len(damaged):,} of {total:,} images cannot be decoded: {', '.join(named)}{more}"


def load_folder(spec: DataSpec, root: Path) -> PhotoSet:
    """Find the images of a user's own folders, and compare them with what the suite says.

    Raises:
        DataError: they are missing, damaged, or other ones.
    """
    assert spec.facts is not None
    assert spec.facts.mean is not None
    assert spec.facts.std is not None
    found = _Folder(root, skip_damaged="damaged" in spec.skip)
    _check_equal(spec, found)
    train, test = found.parts
    return PhotoSet(
        Photos.of(train.root, train.names),
        torch.tensor(train.labels),
        Photos.of(test.root, test.names),
        torch.tensor(test.labels),
        num_classes=len(train.classes),
        side=spec.shape[1],
        mean=spec.facts.mean,
        std=spec.facts.std,
    )


def folder_manifest(root: Path, *, skip_damaged: bool = False) -> tuple[DataSpec, str]:
    """Return the facts of a user's own folders, as a suite states them, and in words what was left out.

    Raises:
        DataError: they are missing, or an image is damaged and is not to be skipped.
    """
    found = _Folder(root, skip_damaged=skip_damaged)
    train, test = found.parts
    mean, std = found.colours()
    spec = DataSpec(
        name=IMAGE_FOLDER,
        checksum=found.checksum(),
        train_images=len(train.names),
        test_images=len(test.names),
        facts=Facts(
            form="imagenet",
            shape=(3, USUAL_SIDE, USUAL_SIDE),
            classes=len(train.classes),
            mean=_three(mean),
            std=_three(std),
        ),
        skip=("damaged",) if skip_damaged else (),
    )
    return spec, found.left_out


def verify_folder(root: Path) -> str:
    """Decode every image that is new or was changed; return in words what there is.

    Raises:
        DataError: images are missing or damaged.
    """
    found = _Folder(root, skip_damaged=False)
    train, test = found.parts
    counts = f"{len(train.names):,} + {len(test.names):,} images in {len(train.classes)} classes"
    return f"{counts}, all decoded; {found.checksum()}"


def glance_at_folder(root: Path) -> str:
    """Count the images; return in words how many there are.

    Raises:
        DataError: a part is missing.
    """
    train, test = (list_part(IMAGE_FOLDER, root / IMAGE_FOLDER, part) for part in PARTS)
    return f"{len(train.names):,} + {len(test.names):,} images in {len(train.classes)} classes, counted"


def folder_is_there(root: Path) -> bool:
    """Tell whether anything of it lies in ``root``."""
    return (root / IMAGE_FOLDER).exists()


def fetch_folder(root: Path, url: str | None = None) -> str:
    """Say where a user's own images belong.

    Raises:
        DataError: they are not there.
    """
    del url
    if not folder_is_there(root):
        raise DataError(
            f"{IMAGE_FOLDER}: your own images, which nobody but you can fetch: put them, or a link to them, to "
            f"{root / IMAGE_FOLDER}, as train/CLASS/FILE and val/CLASS/FILE"
        )
    return f"already there: {glance_at_folder(root)}"


class _Folder:
    """Both parts of the folders in ``root``, inspected."""

    def __init__(self, root: Path, *, skip_damaged: bool):
        folder = root / IMAGE_FOLDER
        listed = [list_part(IMAGE_FOLDER, folder, part) for part in PARTS]
        train, test = listed
        if train.classes != test.classes:
            other = sorted(set(train.classes) ^ set(test.classes))
            raise DataError(
                f"{IMAGE_FOLDER}: {folder}: train and val have other classes ({', '.join(other[:SHOWN])}); each needs "
                "a folder for every class"
            )
        if not 2 <= len(train.classes) <= MOST_CLASSES:
            raise DataError(
                f"{IMAGE_FOLDER}: {folder}: {len(train.classes):,} classes; 2 to {MOST_CLASSES:,} are allowed"
            )
        self.found = [inspect(listing, folder) for listing in listed]
        damaged = [faults(found) for found in self.found]
        told = [
            fault_words(bad, part, len(listing.names))
            for bad, part, listing in zip(damaged, PARTS, listed, strict=True)
            if bad
        ]
        if told and not skip_damaged:
            raise DataError(
                f"{IMAGE_FOLDER}: {folder}: {'; '.join(told)}; mend or delete them, or leave them out by 'skip: "
                f"[damaged]' in the suite ('ranbench data manifest {IMAGE_FOLDER} --skip damaged' prints the facts)"
            )
        self.left_out = "; ".join(told)
        self.parts = [listing.without(bad) for listing, bad in zip(listed, damaged, strict=True)]
        for part, listing in zip(PARTS, self.parts, strict=True):
            empty = set(range(len(listing.classes))) - set(listing.labels)
            if empty:
                name = listing.classes[min(empty)]
                raise DataError(f"{IMAGE_FOLDER}: {folder}: {part}/{name} has no image that can be decoded")

    def checksum(self) -> str:
        """Return the sha256 over parts, classes, names and contents, in their order."""
        total = hashlib.sha256()
        for part, listing, found in zip(PARTS, self.parts, self.found, strict=True):
            for name in listing.names:
                total.update(f"{part}\0".encode() + os.fsencode(name) + f"\0{found[name].sha256}\n".encode())
        return f"sha256:{total.hexdigest()}"

    def colours(self) -> tuple[list[float], list[float]]:
        """Return mean and standard deviation of each channel over all training pixels in [0, 1], to six places."""
        kept = [self.found[0][name] for name in self.parts[0].names]
        pixels = sum(each.pixels for each in kept)
        mean, std = [], []
        for channel in range(3):
            first = sum(each.sums[channel] for each in kept) / pixels
            second = sum(each.squares[channel] for each in kept) / pixels
            mean.append(round(first / 255, 6))
            std.append(max(round(max(second - first**2, 0.0) ** 0.5 / 255, 6), 1e-6))
        return mean, std


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue


def _check_equal(spec: DataSpec, found: _Folder) -> None:
    assert spec.facts is not None
    train, test = found.parts
    both: tuple[tuple[str, object, object], ...] = (
        ("classes", spec.facts.classes, len(train.classes)),
        ("train", spec.train_images, len(train.names)),
        ("test", spec.test_images, len(test.names)),
        ("checksum", spec.checksum, found.checksum()),
    )
    differing = [entry for entry in both if entry[1] != entry[2]]
    if differing:
        stated = ", ".join(f"{key} {value}" for key, value, _ in differing)
        there = ", ".join(f"{key} {value}" for key, _, value in differing)
        raise DataError(
            f"{IMAGE_FOLDER}: {train.root.parent}: expected {stated}, found {there}: these are other images; "
            f"{manifest_command(IMAGE_FOLDER)} prints what they are now"
        )


def _look(path: Path) -> Inspected:
    """Read and decode one file."""
    try:
        state = path.stat()
        content = read_bytes(path)
    except (OSError, DamagedImage) as error:
        return Inspected(-1, -1, hashlib.sha256().hexdigest(), one_line(error))
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        flat = decoded(content).flatten(1)
    except DamagedImage as error:
        return Inspected(state.st_size, state.st_mtime_ns, sha256, str(error))
    values = torch.arange(256)
    counts = [torch.bincount(channel, minlength=256) for channel in flat]
    return Inspected(
        state.st_size,
        state.st_mtime_ns,
        sha256,
        pixels=flat.shape[1],
        sums=tuple(int((count * values).sum()) for count in counts),
        squares=tuple(int((count * values**2).sum()) for count in counts),
    )


def _is_unchanged(path: Path, known: Inspected | None) -> bool:
    if known is None:
        return False
    try:
        state = path.stat()
    except OSError:
        return False
    return (state.st_size, state.st_mtime_ns) == (known.size, known.changed_ns)


def _kept(folder: Path) -> dict[str, dict[str, Inspected]]:
    """Read what the last inspection found; nothing where it cannot be read, which costs time alone."""
    try:
        stored = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        return {part: {name: Inspected(**each) for name, each in found.items()} for part, found in stored.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _keep(folder: Path, part: str, found: dict[str, Inspected]) -> None:
    """Write the findings whole or not at all."""
    everything = {name: {key: asdict(each) for key, each in of.items()} for name, of in _kept(folder).items()}
    everything[part] = {name: asdict(each) for name, each in found.items()}
    partial = folder / f"{INDEX}.{os.getpid()}.part"
    try:
        partial.write_text(json.dumps(everything), encoding="utf-8")
        partial.replace(folder / INDEX)
    except OSError:  # a read-only share: the next inspection looks again
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)

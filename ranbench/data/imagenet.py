"""ImageNet (ILSVRC2012) as torchvision unpacks it. Nobody may hand it on, so it is fetched by the user.

    DIR/imagenet/train/n01440764/*.JPEG ... 1,000 classes, 1,281,167 images
    DIR/imagenet/val/n01440764/*.JPEG   ... 1,000 classes, 50,000 images

torchvision makes this of three archives, whose md5 it checks. The images of unpacked folders are counted, and decoded
by ``data verify``; their content has no published sum.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import torch

from ranbench.catalogue import DATASETS
from ranbench.data.folders import PARTS, Listing, fault_words, faults, inspect, list_part
from ranbench.data.photos import Photos, PhotoSet
from ranbench.errors import DataError, UsageError, one_line
from ranbench.spec import DataSpec

NAME = "imagenet"
ARCHIVES = ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz")
BLACKLIST = "ILSVRC2014_clsloc_validation_blacklist.txt"
# Of the training images, as torchvision's reference training and its published weights take them.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

_WNID = re.compile(r"n\d{8}")
_VALIDATION = "ILSVRC2012_val_{:08d}.JPEG"


def load_imagenet(spec: DataSpec, root: Path) -> PhotoSet:
    """List the images, without those that the spec leaves out.

    Raises:
        DataError: they are missing, are not as many as the spec says, or others would be left out.
    """
    listed = _listed(root)
    parts, left_out = _without(listed, root, spec.skip, look=False)
    _check_counts(parts, (spec.train_images, spec.test_images))
    if spec.skip and _names_hash(left_out) != spec.skipped:
        raise DataError(
            f"{NAME}: {root / NAME}: skips other images than the suite says: {_names_hash(left_out)}, expected "
            f"{spec.skipped}; 'ranbench data manifest {NAME} --skip {' --skip '.join(spec.skip)}' prints what it skips"
        )
    train, test = parts
    return PhotoSet(
        Photos.of(train.root, train.names),
        torch.tensor(train.labels),
        Photos.of(test.root, test.names),
        torch.tensor(test.labels),
        num_classes=len(train.classes),
        side=spec.shape[1],
        mean=MEAN,
        std=STD,
    )


def imagenet_manifest(root: Path, skip: Sequence[str]) -> tuple[dict[str, object], str]:
    """Return what a suite states of ImageNet without some images, and in words how many those are.

    Raises:
        UsageError: nothing is to be skipped, so that there is nothing to state.
        DataError: images or the blacklist are missing.
    """
    if not skip:
        raise UsageError(
            f"data manifest {NAME}: its facts are known, and no suite states them; with --skip blacklisted or "
            "--skip damaged it prints what a suite states of those that are left out"
        )
    (train, test), left_out = _without(_listed(root), root, skip, look=True)
    facts = {
        "train": len(train.names),
        "test": len(test.names),
        "skip": sorted(set(skip)),
        "skipped": _names_hash(left_out),
    }
    return facts, "; ".join(f"{len(names):,} of {part} left out" for part, names in zip(PARTS, left_out, strict=True))


def verify_imagenet(root: Path) -> str:
    """Count the images and decode those that are new or were changed since the last time; hours the first time.

    Raises:
        DataError: images are missing or damaged.
    """
    listed = _listed(root)
    info = DATASETS[NAME]
    _check_counts(listed, (info.train_images, info.test_images))
    found = [inspect(listing, root / NAME) for listing in listed]
    told = [
        fault_words(bad, part, len(listing.names))
        for part, listing, each in zip(PARTS, listed, found, strict=True)
        if (bad := faults(each))
    ]
    if told:
        raise DataError(
            f"{NAME}: {root / NAME}: {'; '.join(told)}; unpack the archives again, or leave them out by 'skip: "
            f"[damaged]' in the suite ('ranbench data manifest {NAME} --skip damaged' prints the facts)"
        )
    return f"{info.train_images:,} + {info.test_images:,} images in {info.num_classes:,} classes, all decoded"


def glance_at_imagenet(root: Path) -> str:
    """Count the images; return in words what there is.

    Raises:
        DataError: they are missing, or are not as many as there should be.
    """
    info = DATASETS[NAME]
    _check_counts(_listed(root), (info.train_images, info.test_images))
    return f"{info.train_images:,} + {info.test_images:,} images, counted; 'ranbench data verify {NAME}' decodes them"


def is_there(root: Path) -> bool:
    """Tell whether anything of it lies in ``root``."""
    return any((root / NAME / name).exists() for name in (*PARTS, *ARCHIVES))


def fetch_imagenet(root: Path, url: str | None = None) -> str:
    """Unpack the archives that the user has fetched, by torchvision, which checks their md5.

    Raises:
        DataError: archives are missing, which says what to fetch, from where and where to; or they are damaged.
    """
    folder = root / NAME
    if url is not None:
        raise DataError(f"{NAME}: --url {url}: cannot be downloaded by this command; {_what_to_fetch(folder)}")
    present = [part for part in PARTS if (folder / part).is_dir()]
    if len(present) == len(PARTS):
        return f"already unpacked in {folder}; 'ranbench data verify {NAME}' looks into every image"
    missing = [name for name in ARCHIVES if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"{NAME}: {folder}: {', '.join(missing)} missing, which nobody but you can fetch; {_what_to_fetch(folder)}"
        )
    from torchvision.datasets import ImageNet

    try:
        for split in PARTS:
            ImageNet(str(folder), split=split)
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{NAME}: {folder}: cannot be unpacked: {one_line(error)}; fetch the archive again") from None
    train, test = _listed(root)
    return f"{len(train.names):,} + {len(test.names):,} images unpacked in {folder}"


def _what_to_fetch(folder: Path) -> str:
    return (
        f"with an account at https://image-net.org/download (ILSVRC2012, task 1 and 2) fetch {', '.join(ARCHIVES)} "
        f"(138 GB, 6.3 GB, 2.5 MB) into {folder}, then 'ranbench data fetch {NAME}' unpacks them; or put the folders "
        f"{PARTS[0]}/ and {PARTS[1]}/, with one folder of JPEGs for each of the 1,000 classes, there"
    )


def _listed(root: Path) -> list[Listing]:
    """List both parts.

    Raises:
        DataError: one is missing, or is not of ImageNet's classes.
    """
    folder = root / NAME
    lacking = [part for part in PARTS if not (folder / part).is_dir()]
    if lacking:
        raise DataError(f"{NAME}: {folder}: no folder {' and none '.join(lacking)}; {_what_to_fetch(folder)}")
    listed = [list_part(NAME, folder, part) for part in PARTS]
    for part, listing in zip(PARTS, listed, strict=True):
        strange = [name for name in listing.classes if not _WNID.fullmatch(name)]
        if strange or len(listing.classes) != DATASETS[NAME].num_classes:
            what = f"{strange[0]!r} among them" if strange else "n and eight digits"
            hint = ""
            if part == "val" and len(listing.classes) == 1:
                hint = "; the validation images must be sorted into folders by class, as torchvision does"
            raise DataError(
                f"{NAME}: {listing.root}: {len(listing.classes):,} classes ({what}), expected 1,000 folders named by "
                f"WordNet, as n01440764{hint}"
            )
    if listed[0].classes != listed[1].classes:
        raise DataError(f"{NAME}: {folder}: train and val have other classes; they must be the same 1,000")
    return listed


def _without(
    listed: Sequence[Listing], root: Path, skip: Sequence[str], *, look: bool
) -> tuple[list[Listing], list[list[str]]]:
    """Leave out what is to be skipped; return what stays and the names of what does not, by part.

    Raises:
        DataError: the blacklist is missing, or images were never looked at and ``look`` does not allow it now.
    """
    left_out: list[set[str]] = [set(), set()]
    if "damaged" in skip:
        for index, listing in enumerate(listed):
            if not look and not (root / NAME / "ranbench-images.json").is_file():
                raise DataError(
                    f"{NAME}: {root / NAME}: which images are damaged is not known here; 'ranbench data verify {NAME}' "
                    "decodes all of them once and keeps what it finds"
                )
            left_out[index] |= faults(inspect(listing, root / NAME)).keys()
    if "blacklisted" in skip:
        left_out[1] |= _blacklisted(listed[1], root / NAME / BLACKLIST)
    kept = [listing.without(gone) for listing, gone in zip(listed, left_out, strict=True)]
    return kept, [sorted(gone) for gone in left_out]


def _blacklisted(validation: Listing, file: Path) -> set[str]:
    """Read the numbers of the blacklist, from 1 in the order of the file names.

    Raises:
        DataError: the file is missing or holds something else, or an image of it is not there.
    """
    remedy = (
        f"the development kit of ILSVRC2014 (https://image-net.org/challenges/LSVRC/2014/) holds {BLACKLIST} in its "
        f"folder data; put it to {file}"
    )
    try:
        lines = file.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else one_line(error)
        raise DataError(f"{NAME}: {file}: {reason}; {remedy}") from None
    count = DATASETS[NAME].test_images
    bad = [line for line in lines if not (line.isascii() and line.isdigit() and 1 <= int(line) <= count)]
    if bad or not lines:
        got = f"{bad[0][:40]!r}" if bad else "nothing"
        raise DataError(f"{NAME}: {file}: expected numbers of images from 1 to {count:,}, got {got}; {remedy}")
    by_file = {Path(name).name: name for name in validation.names}
    wanted = [_VALIDATION.format(int(line)) for line in lines]
    absent = [name for name in wanted if name not in by_file]
    if absent:
        raise DataError(f"{NAME}: {file}: names {absent[0]}, which is not among the images of {validation.root}")
    return {by_file[name] for name in wanted}


def _check_counts(listed: Sequence[Listing], expected: tuple[int, int]) -> None:
    for listing, count in zip(listed, expected, strict=True):
        if len(listing.names) != count:
            raise DataError(
                f"{NAME}: {listing.root}: {len(listing.names):,} images, expected {count:,}; unpack the archive again "
                f"('ranbench data fetch {NAME}' does, once the folder is gone)"
            )


def _names_hash(left_out: Sequence[Sequence[str]]) -> str:
    """Return the sha256 over the names of images that are left out, by part and in their order."""
    total = hashlib.sha256()
    for part, names in zip(PARTS, left_out, strict=True):
        for name in names:
            total.update(f"{part}/{name}\n".encode())
    return f"sha256:{total.hexdigest()}"

"""CIFAR-10 from the official python pickles, through torchvision; every md5 is checked before anything is unpickled."""

from __future__ import annotations

import hashlib
import urllib.error
from pathlib import Path

import torch
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import download_and_extract_archive

from ranbench.data.images import ImageSet
from ranbench.errors import DataError, one_line
from ranbench.spec import DataSpec

FILES: tuple[tuple[str, str], ...] = (
    *((name, md5) for name, md5 in CIFAR10.train_list),
    *((name, md5) for name, md5 in CIFAR10.test_list),
    (str(CIFAR10.meta["filename"]), str(CIFAR10.meta["md5"])),
)


def load_cifar10(spec: DataSpec, root: Path) -> ImageSet:
    """Load all 50,000 training and 10,000 test images from ``root/cifar-10-batches-py``.

    Raises:
        DataError: a file is missing or damaged.
    """
    del spec  # the split is the official one
    verify_cifar10(root)
    train = CIFAR10(str(root), train=True)
    test = CIFAR10(str(root), train=False)
    return ImageSet(
        torch.from_numpy(train.data).permute(0, 3, 1, 2).contiguous(),
        torch.tensor(train.targets),
        torch.from_numpy(test.data).permute(0, 3, 1, 2).contiguous(),
        torch.tensor(test.targets),
        num_classes=10,
    )


def verify_cifar10(root: Path) -> str:
    """Check the md5 of every file; return what was checked in words.

    Raises:
        DataError: a file is missing, cannot be read or has another md5; one line that says what to do.
    """
    folder = root / CIFAR10.base_folder
    fetch = f"'ranbench data fetch cifar10 --data {root}' downloads it"
    missing = [name for name, _ in FILES if not (folder / name).is_file()]
    if missing:
        what = "no such folder" if not folder.is_dir() else f"{', '.join(missing)} missing"
        raise DataError(f"cifar10: {folder}: {what}; {fetch}")
    for name, md5 in FILES:
        try:
            found = hashlib.md5((folder / name).read_bytes(), usedforsecurity=False).hexdigest()
        except OSError as error:
            raise DataError(f"cifar10: {folder / name}: cannot be read: {one_line(error)}") from None
        if found != md5:
            raise DataError(f"cifar10: {folder / name}: damaged: md5 {found}, expected {md5}; delete it, then {fetch}")
    return f"{len(FILES)} files, md5 as published"


def fetch_cifar10(root: Path, url: str | None = None) -> str:
    """Download and unpack CIFAR-10 (170 MB) into ``root`` with torchvision, which shows progress and checks the md5.

    Args:
        root: folder of the datasets.
        url: another place for the official archive.

    Raises:
        DataError: it cannot be downloaded, or is not the official archive; files in place are left alone.
    """
    try:
        return f"already there: {verify_cifar10(root)}"
    except DataError:
        pass
    source = url or CIFAR10.url
    try:
        root.mkdir(parents=True, exist_ok=True)
        download_and_extract_archive(source, str(root), filename=CIFAR10.filename, md5=CIFAR10.tgz_md5)
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise DataError(
            f"cifar10: cannot fetch {source}: {one_line(error)}; fetch the archive by other means and put "
            f"{CIFAR10.filename} into {root}, then try again"
        ) from None
    return verify_cifar10(root)

"""CIFAR-10 and -100 from the official python pickles, through torchvision; md5s are checked before any is unpickled."""

from __future__ import annotations

import hashlib
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torchvision.datasets import CIFAR10, CIFAR100
from torchvision.datasets.utils import download_and_extract_archive

from ranbench.data.images import ImageSet
from ranbench.errors import DataError, one_line
from ranbench.spec import DataSpec


@dataclass(frozen=True)
class Cifar:
    """One of the two datasets; ``source`` is torchvision's class, which knows the official files and their md5."""

    name: str
    source: type[CIFAR10]
    num_classes: int

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """Name and md5 of every file."""
        meta = (str(self.source.meta["filename"]), str(self.source.meta["md5"]))
        return (*((name, md5) for name, md5 in (*self.source.train_list, *self.source.test_list)), meta)

    def is_there(self, root: Path) -> bool:
        """Tell whether there is a folder of the dataset, good or not."""
        folder: Path = root / self.source.base_folder
        return folder.exists()

    def load(self, spec: DataSpec, root: Path) -> ImageSet:
        """Load all 50,000 training and 10,000 test images from their folder in ``root``.

        Raises:
            DataError: a file is missing or damaged.
        """
        del spec  # the split is the official one
        self.verify(root)
        train = self.source(str(root), train=True)
        test = self.source(str(root), train=False)
        return ImageSet(
            torch.from_numpy(train.data).permute(0, 3, 1, 2).contiguous(),
            torch.tensor(train.targets),
            torch.from_numpy(test.data).permute(0, 3, 1, 2).contiguous(),
            torch.tensor(test.targets),
            num_classes=self.num_classes,
        )

    def verify(self, root: Path) -> str:
        """Check the md5 of every file; return what was checked in words.

        Raises:
            DataError: a file is missing, cannot be read or has another md5; one line that says what to do.
        """
        folder = root / self.source.base_folder
        fetch = f"'ranbench data fetch {self.name} --data {root}' downloads it"
        missing = [name for name, _ in self.files if not (folder / name).is_file()]
        if missing:
            what = "no such folder" if not folder.is_dir() else f"{', '.join(missing)} missing"
            raise DataError(f"{self.name}: {folder}: {what}; {fetch}")
        for name, md5 in self.files:
            file = folder / name
            try:
                found = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
            except OSError as error:
                raise DataError(f"{self.name}: {file}: cannot be read: {one_line(error)}") from None
            if found != md5:
                raise DataError(f"{self.name}: {file}: damaged: md5 {found}, expected {md5}; delete it, then {fetch}")
        return f"{len(self.files)} files, md5 as published"

    def contents(self, root: Path) -> Iterator[tuple[str, bytes]]:
        """Yield every file by its path within ``root``.

        Raises:
            DataError: one is missing, or has another md5.
        """
        self.verify(root)
        for name, _ in self.files:
            path = f"{self.source.base_folder}/{name}"
            yield path, (root / path).read_bytes()

    def fetch(self, root: Path, url: str | None = None) -> str:
        """Download and unpack the dataset (170 MB) into ``root``; torchvision shows progress and checks the md5.

        Args:
            root: folder of the datasets.
            url: another place for the official archive.

        Raises:
            DataError: it cannot be downloaded, or is not the official archive; files in place are left alone.
        """
        try:
            return f"already there: {self.verify(root)}"
        except DataError:
            pass
        source, archive = url or self.source.url, self.source.filename
        try:
            root.mkdir(parents=True, exist_ok=True)
            download_and_extract_archive(source, str(root), filename=archive, md5=self.source.tgz_md5)
        except (OSError, RuntimeError, ValueError) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            raise DataError(
                f"{self.name}: cannot fetch {source}: {one_line(error)}; fetch the archive by other means and put "
                f"{archive} into {root}, then try again"
            ) from None
        return self.verify(root)


CIFAR_10 = Cifar("cifar10", CIFAR10, 10)
CIFAR_100 = Cifar("cifar100", CIFAR100, 100)

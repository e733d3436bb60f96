"""ImageNet, which this version counts nets for, but does not load: every use says so in one line."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from ranbench.errors import DataError
from ranbench.spec import DataSpec


def load_imagenet(spec: DataSpec, root: Path) -> NoReturn:
    """Refuse to load it.

    Raises:
        DataError: always.
    """
    del spec, root
    raise _cannot()


def verify_imagenet(root: Path) -> NoReturn:
    """Refuse to check it.

    Raises:
        DataError: always.
    """
    del root
    raise _cannot()


def fetch_imagenet(root: Path, url: str | None = None) -> NoReturn:
    """Refuse to fetch it.

    Raises:
        DataError: always.
    """
    del root, url
    raise _cannot()


def _cannot() -> DataError:
    return DataError(
        "imagenet: this version cannot load, fetch or train on ImageNet yet; "
        "'ranbench complexity MODEL --dataset imagenet' counts a net on its images"
    )

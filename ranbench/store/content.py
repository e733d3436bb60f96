"""Files that are named by their content."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256_of(file: Path) -> str:
    """Return the hash of a file's content in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def is_whole(file: Path, sha256: str) -> bool:
    """Tell whether a file is there with this content."""
    try:
        return sha256_of(file) == sha256
    except OSError:
        return False

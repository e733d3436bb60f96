"""Folders for what a command needs while it lives. One that was killed leaves them; the next command clears them."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

LOCK = "lock"  # in each folder: held as long as its process, or one that it has forked, lives


class Scratch:
    """A folder within that for temporary files, for this user alone; ``close`` removes it.

    Args:
        prefix: of its name. Those of the same prefix and user, whose process is gone, are removed first.
    """

    def __init__(self, prefix: str):
        for left in _left(prefix):
            shutil.rmtree(left, ignore_errors=True)
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        self._lock = os.open(self.path / "unlocked", os.O_RDWR | os.O_CREAT)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        (self.path / "unlocked").rename(self.path / LOCK)  # nobody sees it before it is held

    def close(self) -> None:
        """Remove it; nothing more where that is done."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def _left(prefix: str) -> Iterator[Path]:
    """List the folders that nobody holds. One without a lock is just being made, or of an older version."""
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                if os.fstat(lock).st_uid == os.getuid() and not folder.is_symlink():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    yield folder
            finally:
                os.close(lock)

"""What lies under a path: the kind of its file system, its free space, whether it can be written."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")


def existing(path: Path) -> Path:
    """Return ``path``, or the nearest folder above it that is there."""
    whole = path.absolute()
    return next((place for place in (whole, *whole.parents) if place.exists()), Path(whole.anchor))


def file_system(path: Path, mounts: str | None = None) -> str | None:
    """Return the kind of file system under ``path``, for instance ext4 or nfs4; None where the system does not tell.

    Args:
        path: a file or folder, or one that will be made.
        mounts: text of the kernel's table of mounts, read where it is left out.
    """
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text(errors="replace")
        except OSError:
            return None
    place = existing(path).resolve()
    best, kind = -1, None
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
        if place.is_relative_to(point) and len(point.parts) >= best:  # a later mount covers an earlier one
            best, kind = len(point.parts), after.split(" ")[0]
    return kind


def free_bytes(path: Path) -> int:
    """Return how many bytes a user may still write where ``path`` is or will be."""
    return shutil.disk_usage(existing(path)).free


def can_write(path: Path) -> bool:
    """Tell whether this process may write to ``path``, or make it."""
    place = existing(path)
    return os.access(place, os.W_OK | os.X_OK if place.is_dir() else os.W_OK)


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""What of machine, libraries and places stands in the way of runs, or puts results at risk. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ranbench.doctor.finding import Finding
from ranbench.doctor.libraries import libraries
from ranbench.doctor.machine import machine
from ranbench.doctor.places import places
from ranbench.doctor.records import database, datasets

__all__ = ["Finding", "examine"]


def examine(url: str, file: Path | None, results: Path, data: Path) -> Iterator[Finding]:
    """Look at everything, one finding after the other.

    Args:
        url: the database.
        file: its file, None for a server.
        results: folder of checkpoints and artefacts.
        data: folder of the datasets.
    """
    without_torch = False
    for finding in libraries(with_sqlite=file is not None):
        without_torch |= finding.about in ("torch", "torchvision") and finding.level == "problem"
        yield finding
    if not without_torch:
        yield from machine()
    yield database(url, file)
    yield from places(file, results, data)
    if not without_torch:
        yield from datasets(data)

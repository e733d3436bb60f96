"""Which positions of which epoch an iteration sees. Numbers only: an epoch's order and its images are elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from ranbench.errors import DataError

LastBatch = Literal["run-on", "partial", "drop"]


@dataclass(frozen=True)
class Part:
    """Positions ``start`` to ``stop`` - 1 in the order of epoch ``epoch`` (from 0)."""

    epoch: int
    start: int
    stop: int

    def __len__(self) -> int:
        """Return the number of images."""
        return self.stop - self.start


def iterations_per_epoch(num_images: int, batch: int, last_batch: LastBatch) -> Fraction:
    """Return how many iterations see an epoch: of 50,000 images at batch 64, 781.25, 782 or 781.

    Raises:
        DataError: ``drop`` leaves no batch at all.
    """
    if last_batch == "run-on":
        return Fraction(num_images, batch)
    if last_batch == "partial":
        return Fraction(-(-num_images // batch))
    if num_images < batch:
        raise DataError(f"last_batch drop leaves nothing: {num_images} training images fill no batch of {batch}")
    return Fraction(num_images // batch)


def batch_parts(step: int, num_images: int, batch: int, last_batch: LastBatch) -> tuple[Part, ...]:
    """Return what iteration ``step`` (from 0) sees, in its order; one part unless it runs over the end of an epoch.

    ``run-on``: iteration 781 of 50,000 images at batch 64 has the last 16 of epoch 0 and the first 48 of epoch 1.
    ``partial``: it has the last 16 alone, and iteration 782 is the first of epoch 1.
    ``drop``: it is the first of epoch 1, and the last 16 positions of an epoch are never seen.

    Raises:
        DataError: as ``iterations_per_epoch``.
    """
    if last_batch != "run-on":
        epoch, inside = divmod(step, int(iterations_per_epoch(num_images, batch, last_batch)))
        return (Part(epoch, inside * batch, min((inside + 1) * batch, num_images)),)
    first, end = step * batch, (step + 1) * batch
    return tuple(
        Part(epoch, max(first - epoch * num_images, 0), min(end - epoch * num_images, num_images))
        for epoch in range(first // num_images, (end - 1) // num_images + 1)
    )

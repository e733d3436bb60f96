"""Batches of images from files, decoded and cut by worker processes ahead of the steps that need them.

What is drawn for an image is a function of (seed, epoch, image), and the order of batches is that of the run, so the
number of workers, and where a resume begins, change nothing.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ranbench.data.decoding import DamagedImage, decoded, read_bytes
from ranbench.data.photos import Photos
from ranbench.data.resized_crop import draw_boxes
from ranbench.data.streams import stream
from ranbench.errors import DataError
from ranbench.spec import Evaluation

AHEAD = 2  # batches that each worker prepares
MOST_WORKERS = 16  # that are taken where nobody says how many


def usual_workers(processes: int = 1) -> int:
    """Return how many workers each of some training processes takes: the cores, shared out."""
    return max(1, min(MOST_WORKERS, len(os.sched_getaffinity(0)) // processes))


@dataclass(frozen=True)
class Part:
    """Which part of an image is cut out to train on: the draws of a run."""

    seed: int
    scale: tuple[float, float]
    aspect: tuple[float, float]
    side: int

    def of(self, pixels: torch.Tensor, epoch: int, index: int, *, mirrored: bool) -> torch.Tensor:
        """uint8 (3, H, W) -> uint8 (3, side, side): a random part, resized and perhaps mirrored."""
        from torchvision.transforms.v2 import functional

        height, width = pixels.shape[1:]
        generator = stream(self.seed, "scale-crop", epoch, index)
        box = draw_boxes(generator, 1, height, width, scale=self.scale, aspect=self.aspect)[0]
        top, left, tall, wide = box.tolist()
        cut: torch.Tensor = functional.resized_crop(pixels, top, left, tall, wide, [self.side] * 2, antialias=True)
        return functional.horizontal_flip(cut) if mirrored else cut


@dataclass(frozen=True)
class Centre:
    """The centre of an image to evaluate on: its shorter side resized, a square of it cut out."""

    resize: int
    crop: int

    @classmethod
    def of(cls, evaluation: Evaluation) -> Centre:
        """Return that of a protocol, which was checked to have both sides."""
        assert evaluation.resize is not None
        assert evaluation.crop is not None
        return cls(evaluation.resize, evaluation.crop)

    def cut(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 (3, H, W) -> uint8 (3, crop, crop)."""
        from torchvision.transforms.v2 import functional

        resized = functional.resize(pixels, [self.resize], antialias=True)
        cut: torch.Tensor = functional.center_crop(resized, [self.crop, self.crop])
        return cut


@dataclass(frozen=True)
class Wanted:
    """The images of one batch; ``epochs`` and ``mirrored`` are those of training images."""

    index: np.ndarray
    epochs: np.ndarray | None = None
    mirrored: np.ndarray | None = None


class _Reader(Dataset[torch.Tensor | str]):
    """Reads whole batches; what it cannot read it names in words, since an exception comes out of a worker changed."""

    def __init__(self, photos: Photos, cut: Part | Centre):
        self.photos, self.cut = photos, cut

    def __getitem__(self, wanted: Wanted) -> torch.Tensor | str:
        side = self.cut.side if isinstance(self.cut, Part) else self.cut.crop
        batch = torch.empty(len(wanted.index), 3, side, side, dtype=torch.uint8)
        for row, index in enumerate(wanted.index.tolist()):
            try:
                pixels = decoded(read_bytes(self.photos.path(index)))
            except DamagedImage as error:
                return f"{self.photos.path(index)}: {error}"
            if isinstance(self.cut, Centre):
                batch[row] = self.cut.cut(pixels)
            else:
                assert wanted.epochs is not None
                assert wanted.mirrored is not None
                epoch, mirrored = int(wanted.epochs[row]), bool(wanted.mirrored[row])
                batch[row] = self.cut.of(pixels, epoch, index, mirrored=mirrored)
        return batch


def read(photos: Photos, cut: Part | Centre, tasks: Iterable[Wanted], workers: int) -> Iterator[torch.Tensor]:
    """Yield the batches of ``tasks`` in their order: uint8 (B, 3, side, side); 0 workers read in this process.

    Raises:
        DataError: an image was damaged since the data were looked at; or the workers died.
    """
    options: dict[str, Any] = {}
    if workers:
        options = {"prefetch_factor": AHEAD, "multiprocessing_context": _context(), "worker_init_fn": _begin}
    loader = DataLoader(
        _Reader(photos, cut),
        batch_size=None,
        sampler=tasks,
        num_workers=workers,
        generator=torch.Generator(),  # else one number of torch's own would be drawn
        **options,
    )
    batches = iter(loader)
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise DataError(
                f"{photos.root}: the processes that read its images died: {str(error).splitlines()[0]}; the memory may "
                "be full, or /dev/shm too small; fewer --workers need less"
            ) from None
        if isinstance(batch, str):
            raise DataError(f"{batch}; mend it, or leave it out by 'skip: [damaged]' in the suite")
        yield batch


def read_now(photos: Photos, cut: Centre, index: np.ndarray) -> torch.Tensor:
    """Read some images in this process.

    Raises:
        DataError: one is damaged.
    """
    (batch,) = read(photos, cut, [Wanted(index)], workers=0)
    return batch


def _context() -> BaseContext:
    """Workers are made by a server that has nothing of this process, and holds the libraries already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torchvision.transforms.v2", "ranbench.data.reading"])
    return context


def _begin(worker: int) -> None:
    """Leave signals to the training process, which ends its workers once it has stopped cleanly."""
    del worker
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)

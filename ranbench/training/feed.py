"""What the next iterations need, ahead of time on the device: which images, how they are changed, the learning rate.

A step takes the next row by a counter that lies on the device too, so that a recorded step needs nothing of the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from ranbench.data.augmentation import BatchOrder, Draw
from ranbench.data.photos import Images, PhotoSet
from ranbench.data.reading import Part, Wanted, read
from ranbench.spec import Protocol
from ranbench.training.ranks import ALONE, Ranks

ROWS = 256  # iterations that are sent at once: 0.4 MB at batch 64


class Feed:
    """Rows of (draw, learning rate) for the iterations from ``load`` on, of this process's share of the batches."""

    def __init__(self, order: BatchOrder, rate: Callable[[int], float], device: torch.device, ranks: Ranks = ALONE):
        self.order, self.rate, self.device, self.ranks = order, rate, device, ranks
        first = self._block(0, 1)
        self._draws = first.map(lambda rows: torch.zeros((ROWS, *rows.shape[1:]), dtype=rows.dtype, device=device))
        # a fused update reads its rate as float32 from a GPU's memory, and as float64 on the host
        self._rates = torch.zeros(ROWS, dtype=torch.float32 if device.type == "cuda" else torch.float64, device=device)
        self.position = torch.zeros(1, dtype=torch.int64, device=device)
        self._loaded: range = range(0)

    def reach(self, step: int) -> None:
        """See to it that the next row taken is that of iteration ``step`` (from 0); steps come in their order."""
        if step not in self._loaded:
            self.load(step)

    def load(self, step: int) -> None:
        """Send the rows from iteration ``step`` on."""
        block = self._block(step, ROWS)
        rates = torch.tensor([self.rate(step + row) for row in range(ROWS)], dtype=self._rates.dtype)
        for there, here in [*zip(self._draws.parts.values(), block.parts.values(), strict=True), (self._rates, rates)]:
            # from pinned memory the copy waits in the device's queue, and the host goes on
            there.copy_(here.pin_memory() if self.device.type == "cuda" else here, non_blocking=True)
        self.position.zero_()
        self._loaded = range(step, step + ROWS)

    def _block(self, step: int, count: int) -> Draw:
        """What this process sees of ``count`` iterations; a short batch is filled with whatever follows its share."""
        block = self.order.block(step, count)
        if self.ranks.count == 1:
            return block
        width = self.order.batch // self.ranks.count
        first = [self.ranks.share(self.order.size(row)).start for row in range(step, step + count)]
        columns = torch.tensor(first)[:, None] + torch.arange(width)
        rows = torch.arange(count)[:, None]
        return block.map(lambda drawn: drawn[rows, columns.clamp(max=self.order.batch - 1)])

    def close(self) -> None:
        """Nothing is to be ended here."""

    def take(self, rate: torch.Tensor) -> Draw:
        """Return the next draw, (B,), and write its learning rate into ``rate``."""
        rate.copy_(self._rates.index_select(0, self.position).squeeze(0))
        draw = self._draws.map(lambda rows: rows.index_select(0, self.position).squeeze(0))
        self.position.add_(1).remainder_(ROWS)  # a rehearsal of the step never reads beyond the rows
        return draw


class PhotoFeed:
    """The same of images in files: batches that others decode ahead, put to one place of the device for each step."""

    def __init__(
        self,
        images: PhotoSet,
        protocol: Protocol,
        order: BatchOrder,
        rate: Callable[[int], float],
        *,
        device: torch.device,
        ranks: Ranks = ALONE,
        workers: int = 1,
    ):
        augmentation = protocol.augmentation
        assert augmentation.scale is not None
        assert augmentation.aspect is not None
        self.photos, self.order, self.rate, self.device, self.ranks = images.train_images, order, rate, device, ranks
        self.workers = workers
        self.cut = Part(order.seed, augmentation.scale, augmentation.aspect, images.side)
        width = order.batch // ranks.count
        first = order.block(0, 1).map(lambda rows: torch.zeros_like(rows[0][:width], device=device))
        pixels = torch.zeros(width, *images.shape, dtype=torch.uint8, device=device)
        self._draw = replace(first, images=pixels)
        self._rate = torch.zeros((), dtype=torch.float32 if device.type == "cuda" else torch.float64, device=device)
        self.position = torch.zeros(1, dtype=torch.int64, device=device)  # as of ``Feed``; always the one row
        self._next = -1
        self._batches: Iterator[torch.Tensor] = iter(())

    def reach(self, step: int) -> None:
        """Put the batch of iteration ``step`` (from 0) to its place; steps come in their order.

        Raises:
            DataError: an image was damaged since the data were looked at.
        """
        if step != self._next:
            self.load(step)
        draw = self._own(step)
        draw = replace(draw, images=next(self._batches))
        for name, here in draw.parts.items():
            there = self._draw.parts[name]
            source = here.pin_memory() if self.device.type == "cuda" else here
            there[: len(here)].copy_(source, non_blocking=True)
        self._rate.fill_(self.rate(step))
        self._next = step + 1

    def load(self, step: int) -> None:
        """Let the batches from iteration ``step`` on be read."""
        self.close()
        self._batches = read(self.photos, self.cut, self._tasks(step), self.workers)
        self._next = step

    def close(self) -> None:
        """Let those who read end."""
        self._batches = iter(())
        self._next = -1

    def take(self, rate: torch.Tensor) -> Draw:
        """Return the draw that was reached, (B,), and write its learning rate into ``rate``."""
        rate.copy_(self._rate)
        return self._draw

    def _own(self, step: int) -> Draw:
        """What this process sees of a batch."""
        rows = self.ranks.share(self.order.size(step))
        return self.order.draw(step).map(lambda drawn: drawn[rows.start : rows.stop])

    def _tasks(self, step: int) -> Iterator[Wanted]:
        while True:
            draw, rows = self._own(step), self.ranks.share(self.order.size(step))
            epochs = self.order.epochs(step)[rows.start : rows.stop]
            yield Wanted(draw.index.numpy(), epochs, draw.mirrored.numpy())
            step += 1


def feed_of(
    images: Images,
    protocol: Protocol,
    order: BatchOrder,
    rate: Callable[[int], float],
    *,
    device: torch.device,
    ranks: Ranks,
    workers: int,
) -> Feed | PhotoFeed:
    """Return what hands a training its batches."""
    if isinstance(images, PhotoSet):
        return PhotoFeed(images, protocol, order, rate, device=device, ranks=ranks, workers=workers)
    return Feed(order, rate, device, ranks)

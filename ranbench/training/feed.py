"""What the next iterations need, ahead of time on the device: which images, how they are changed, the learning rate.

A step takes the next row by a counter that lies on the device too, so that a recorded step needs nothing of the host.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from ranbench.data.augmentation import BatchOrder, Draw

ROWS = 256  # iterations that are sent at once: 0.4 MB at batch 64


class Feed:
    """Rows of (draw, learning rate) for the iterations from ``load`` on."""

    def __init__(self, order: BatchOrder, rate: Callable[[int], float], device: torch.device):
        self.order, self.rate, self.device = order, rate, device
        first = order.block(0, 1)
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
        block = self.order.block(step, ROWS)
        rates = torch.tensor([self.rate(step + row) for row in range(ROWS)], dtype=self._rates.dtype)
        for there, here in [*zip(self._draws.parts.values(), block.parts.values(), strict=True), (self._rates, rates)]:
            # from pinned memory the copy waits in the device's queue, and the host goes on
            there.copy_(here.pin_memory() if self.device.type == "cuda" else here, non_blocking=True)
        self.position.zero_()
        self._loaded = range(step, step + ROWS)

    def take(self, rate: torch.Tensor) -> Draw:
        """Return the next draw, (B,), and write its learning rate into ``rate``."""
        rate.copy_(self._rates.index_select(0, self.position).squeeze(0))
        draw = self._draws.map(lambda rows: rows.index_select(0, self.position).squeeze(0))
        self.position.add_(1).remainder_(ROWS)  # a rehearsal of the step never reads beyond the rows
        return draw

"""A step recorded once as a CUDA graph and replayed: one launch in place of a thousand."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence

import torch

REHEARSALS = 3  # steps before the recording, in which libraries choose their algorithms and take their memory


class RecordedStep:
    """A CUDA graph of ``step``.

    Args:
        step: reads and writes tensors of fixed places only, and asks the device for nothing.
        state: every tensor that ``step`` changes; the rehearsals are undone in them.
        clear: forgets the gradients, so that those of the recording have places of its own.
        stream: where the step is recorded and replayed; must be the current stream.
    """

    def __init__(
        self,
        step: Callable[[], None],
        state: Sequence[torch.Tensor],
        clear: Callable[[], None],
        stream: torch.cuda.Stream,
    ):
        before = [tensor.clone() for tensor in state]
        for _ in range(REHEARSALS):
            step()
        for tensor, value in zip(state, before, strict=True):
            tensor.copy_(value)
        clear()
        gc.collect()  # a graph that is found dead while this one is recorded would spoil it
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=stream):  # records; nothing is executed
            step()

    def replay(self) -> None:
        """Put the step into the current stream's queue."""
        self._graph.replay()

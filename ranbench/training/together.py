"""Several trainings at once on one device: on a GPU each in its own queue, on a CPU each in its own thread.

Every training sees its own numbers only, so each gives the same bits as alone (with the same number of threads).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

import torch

from ranbench.training.loop import Record, Stepped, Training

MOST_ON_GPU = 16
SHARE_OF_MEMORY = 0.85  # of what is free, for the runs that join the first one

Outcome = list[Record] | Exception
T = TypeVar("T")


class Together:
    """Trainings that advance side by side, one iteration a round. They may join and leave between two rounds.

    Args:
        device: of all of them.
        at_once: how many there are at most, which is the number of threads that work on a CPU.
    """

    def __init__(self, device: torch.device, *, at_once: int = 1):
        self.members: list[Training] = []
        self._pool = ThreadPoolExecutor(at_once, "training") if device.type == "cpu" and at_once > 1 else None

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the threads end."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def round(self) -> list[tuple[Training, Outcome]]:
        """Take one iteration of each, or finish those that are complete; return each one's records, or its error.

        A training that raised or finished has left. The time of the steps is shared equally: it is one device's.
        """
        stepping = [training for training in self.members if not training.complete]
        ending = [training for training in self.members if training.complete]
        began = time.perf_counter()
        stepped = self._each(stepping, Training.take_step)
        seconds = time.perf_counter() - began
        for training in stepping:
            training.seconds += seconds / len(stepping)
        outcomes = self._and_look(stepping, stepped)
        outcomes += zip(ending, self._each(ending, _finish), strict=True)
        left = {id(training) for training, outcome in outcomes if isinstance(outcome, Exception)}
        left |= {id(training) for training in ending}
        self.members = [training for training in self.members if id(training) not in left]
        return outcomes

    def _and_look(self, stepping: Sequence[Training], stepped: Sequence[object]) -> list[tuple[Training, Outcome]]:
        """Evaluate where it is due; join the points of the step, of the evaluation and the step itself."""
        good = [training for training, points in zip(stepping, stepped, strict=True) if isinstance(points, list)]
        looked = dict(zip(map(id, good), self._each(good, Training.look), strict=True))
        outcomes: list[tuple[Training, Outcome]] = []
        for training, points in zip(stepping, stepped, strict=True):
            found = looked.get(id(training))
            if isinstance(points, Exception):
                outcomes.append((training, points))
            elif isinstance(found, Exception):
                outcomes.append((training, found))
            elif isinstance(points, list) and found is not None:
                outcomes.append((training, [*points, *found, Stepped(training.step)]))
        return outcomes

    def _each(self, trainings: Sequence[Training], act: Callable[[Training], T]) -> list[T | Exception]:
        """Do something with each, side by side where there are threads; an error of one touches that one only."""

        def guarded(training: Training) -> T | Exception:
            try:
                return act(training)
            except Exception as error:
                return error
            except SystemExit as error:  # of a user's net; else the command would end with a code of the net's choice
                return RuntimeError(f"the code of the net called sys.exit({error.code!r})")

        if self._pool is None or len(trainings) < 2:
            return [guarded(training) for training in trainings]
        return list(self._pool.map(guarded, trainings))


def _finish(training: Training) -> list[Record]:
    return list(training.finish())


def room_beside(device: torch.device, first_bytes: int) -> int:
    """Return how many more runs like one that takes ``first_bytes`` of a GPU fit beside it, MOST_ON_GPU in all."""
    free, _ = torch.cuda.mem_get_info(device)
    return max(0, min(MOST_ON_GPU - 1, int(SHARE_OF_MEMORY * free / max(first_bytes, 1))))

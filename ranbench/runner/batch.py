"""A batch of runs: runs of one architecture that this process trains at once, each closed on its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import torch

from ranbench.data import Images
from ranbench.environment import give_back_memory
from ranbench.errors import ClaimLost, Divergence, ProcessLost, forget_frames
from ranbench.records import State
from ranbench.runner.attempt import Attempt, Place
from ranbench.runner.memory import lacks_memory
from ranbench.spec import RunSpec
from ranbench.training import Outcome, Together, Training, room_beside


class Batch:
    """The open attempts of a batch.

    Args:
        place: where they are made.
        images: the dataset of all of them, on the device.
        take: claims a run; returns None where there is nothing to train.
        closed: is told the state in which an attempt ended here.
        lost: is told a run that another command has taken over.
        at_once: how many are trained at once; None: one until the memory that it takes of a GPU is known, then as many
            as fit.
    """

    def __init__(
        self,
        place: Place,
        images: Images,
        *,
        take: Callable[[RunSpec], Attempt | None],
        closed: Callable[[RunSpec, State], None],
        lost: Callable[[RunSpec], None],
        at_once: int | None,
    ):
        self.place, self.images = place, images
        self.take, self.closed, self.lost = take, closed, lost
        self.at_once, self.known = at_once or 1, at_once is not None
        self.open: dict[Training, Attempt] = {}
        if place.device.type == "cuda":
            _give_back(place.device)  # what earlier batches took, and no longer need
        self.memory_before = _reserved(place.device)
        self.sharing = 1  # how many runs shared the memory where one lacked it
        self.lacking = False

    def through(self, specs: Sequence[RunSpec]) -> None:
        """Train all that can be claimed of ``specs``, in their order, until a stop is asked for.

        Raises:
            StoreError: the database cannot be used; the open attempts can be resumed.
            KeyboardInterrupt: stop at once; the open attempts can be resumed from their last checkpoints.
        """
        queue, threads = deque(specs), torch.get_num_threads()
        with Together(self.place.device, at_once=self.at_once) as together:
            try:
                while self._fill(together, queue):
                    self._advance(together, queue)
                for training in list(self.open):
                    self._interrupt(training)
            except (KeyboardInterrupt, ProcessLost) as error:
                if isinstance(error, KeyboardInterrupt):
                    self.place.store.hurry()
                for attempt in self.open.values():
                    attempt.abandon()
                raise
            finally:
                for attempt in self.open.values():
                    attempt.end()
                if torch.get_num_threads() != threads:  # those of this thread; a run takes its own number
                    torch.set_num_threads(threads)

    def _advance(self, together: Together, queue: deque[RunSpec]) -> None:
        """Take one round; nothing here outlives it that could hold the memory of a run that ended."""
        self.sharing = len(self.open)
        for training, outcome in together.round():
            self._settle(together, queue, training, outcome)
        self._measure(together)

    def _fill(self, together: Together, queue: deque[RunSpec]) -> bool:
        """Let runs join while there is room; tell whether there is anything to train."""
        if self.lacking:
            _give_back(self.place.device)
            self.lacking = False
        while not self.place.stop.requested and queue and len(self.open) < self.at_once:
            attempt = self.take(queue.popleft())
            if attempt is not None:
                self._join(together, queue, attempt)
        return bool(together.members) and not self.place.stop.requested

    def _join(self, together: Together, queue: deque[RunSpec], attempt: Attempt) -> None:
        try:
            self.sharing = len(self.open) + 1
            training = attempt.open(self.images)
        except (KeyboardInterrupt, ProcessLost):
            attempt.abandon()
            attempt.end()
            raise
        except Exception as error:
            self._failed(queue, attempt, error)
            self._part(error)
        else:
            self.open[training] = attempt
            together.members.append(training)
            for each in self.open.values():
                each.beside(len(self.open))

    def _settle(self, together: Together, queue: deque[RunSpec], training: Training, outcome: Outcome) -> None:
        """Record what a round gave; a run that ends leaves its place to the next."""
        attempt = self.open[training]
        if isinstance(outcome, Exception) and lacks_memory(outcome):
            self._leave(together, training)
            self._failed(queue, attempt, outcome)
            self._part(outcome)
            return
        try:
            state = attempt.take(training, outcome)
        except ClaimLost:
            self._leave(together, training)
            self._lost(attempt)
            return
        if state is not None:
            self._leave(together, training)
            self._close(attempt, state)
        if isinstance(outcome, Exception):
            self._part(outcome)

    def _part(self, error: Exception) -> None:
        """End where this process alone met an error: those that trained with it are no longer where it is.

        Raises:
            ProcessLost: so it is.
        """
        if self.place.ranks.count > 1 and not isinstance(error, Divergence):
            raise ProcessLost(
                f"one of {self.place.ranks.count} processes that train together met an error, so they are no longer in "
                "step; the same command goes on with the runs that are left"
            )

    def _failed(self, queue: deque[RunSpec], attempt: Attempt, error: Exception) -> None:
        """Close an attempt as failed; where others held the memory that it lacked, let it wait for them instead."""
        try:
            if lacks_memory(error) and self.sharing > 1:
                attempt.abandon()
                self._wait(queue, attempt)
                forget_frames(error)  # they hold the net that has no room
            else:
                self._close(attempt, attempt.failed(error))
        except ClaimLost:
            self._lost(attempt)
        finally:
            attempt.end()

    def _wait(self, queue: deque[RunSpec], attempt: Attempt) -> None:
        """Put a run that lacked memory first in the queue, and train no more at once than there are without it."""
        self.at_once, self.known, self.lacking = max(1, len(self.open)), True, True
        beside = "another run" if self.sharing == 2 else f"{self.sharing - 1} others"
        self.place.observer.note(f"{attempt.label}: out of memory beside {beside}; {self.at_once} at once from here on")
        queue.appendleft(attempt.spec)

    def _interrupt(self, training: Training) -> None:
        """Leave a run with a checkpoint, since a stop was asked for."""
        attempt = self.open[training]
        try:
            self._close(attempt, attempt.interrupt())
        except ClaimLost:
            self._lost(attempt)

    def _close(self, attempt: Attempt, state: State) -> None:
        attempt.end()
        self.closed(attempt.spec, state)

    def _lost(self, attempt: Attempt) -> None:
        attempt.end()
        self.place.observer.note(f"{attempt.label}: was taken over by another command")
        self.lost(attempt.spec)

    def _leave(self, together: Together, training: Training) -> None:
        del self.open[training]
        together.members = [member for member in together.members if member is not training]

    def _measure(self, together: Together) -> None:
        """Once the first run has taken a step, and with it its memory, choose how many are trained at once."""
        if self.known or not together.members:
            return
        self.known = True
        if self.place.device.type == "cuda":
            used = _reserved(self.place.device) - self.memory_before
            self.at_once = 1 + room_beside(self.place.device, used)


def _reserved(device: torch.device) -> int:
    return torch.cuda.memory_reserved(device) if device.type == "cuda" else 0


def _give_back(device: torch.device) -> None:
    """Return the memory of a run that is gone to the device, for those that come."""
    give_back_memory()
    if device.type == "cuda":
        torch.cuda.empty_cache()

"""Runs whose process is gone: what is recorded of them, and whether they are tried again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from time import monotonic

from ranbench.environment import is_alive, new_owner
from ranbench.environment.usage import out_of_memory_kills
from ranbench.errors import ClaimLost
from ranbench.execution import Lost
from ranbench.records import Reason
from ranbench.runner.events import Observer
from ranbench.runner.workplace import Order
from ranbench.spec import RunSpec
from ranbench.store import Claimed, Store

GRACE_SECONDS = 30.0  # beyond --timeout, after which a process that does not end its run is killed


@dataclass
class Claim:
    """An attempt that a process works on: since when, from which iteration, and the last one that it told of."""

    attempt_id: int
    token: str
    began: float
    first: int = 0
    step: int = 0


class Fate(Enum):
    """What becomes of a run: tried again, failed, or with another command, which took it first."""

    AGAIN = "again"
    FAILED = "failed"
    HELD = "held"


class Losses:
    """Decides on runs whose process is gone, and records why.

    Args:
        store: where that is recorded, in the name of the process.
        order: of the command.
        observer: is told.
        label: names a run.
        retries: how often a run is tried again whose process died.
    """

    def __init__(self, store: Store, order: Order, observer: Observer, label: Callable[[RunSpec], str], retries: int):
        self.store, self.order, self.observer, self.label = store, order, observer, label
        self.retries = retries
        self.stopping = False  # nothing is tried again by this command
        self._tries: Counter[str] = Counter()
        self._kills = out_of_memory_kills()

    def lacked_memory(self, event: Lost) -> bool:
        """Tell whether the system has killed a process for lack of memory since the last one was lost."""
        before, self._kills = self._kills, out_of_memory_kills()
        of_ray = "low on memory" in event.why  # what Ray ends a worker for
        return of_ray or ("SIGKILL" in event.why and not event.killed and self._kills > before)

    def died(self, spec: RunSpec, claim: Claim | None, event: Lost, *, lacked_memory: bool) -> Fate:
        """Decide on a run that may be the reason why its process died.

        Raises:
            StoreError: the database cannot be used.
        """
        run = spec.fingerprint
        self._tries[run] += not event.blameless
        why = f"{event.why} {'before it began' if claim is None else self._reached(spec, claim)}"
        if lacked_memory:
            why += "; the system has killed a process for lack of memory"
        if event.blameless or self._tries[run] <= self.retries or self.stopping:
            return self._interrupt(spec, claim, why)
        times = "" if self._tries[run] == 1 else f", for the {_ordinal(self._tries[run])} time"
        detail = f"{event.detail}\n" if event.detail else ""
        reason = Reason.OUT_OF_MEMORY if lacked_memory else Reason.ERROR
        return self._fail(spec, claim, reason, f"{detail}{why}{times}")

    def overdue(self, spec: RunSpec, claim: Claim, event: Lost) -> Fate:
        """Decide on a run for which its process was killed: it has had its time.

        Raises:
            StoreError: the database cannot be used.
        """
        text = (
            f"did not answer within {GRACE_SECONDS:.0f} s after the {self.order.how.timeout or 0:.0f} s of --timeout, "
            f"{self._reached(spec, claim)}; {event.why}; "
            "'ranbench run SUITE --rerun failed' with a longer one tries again"
        )
        return self._fail(spec, claim, Reason.TIMEOUT, text)

    def beside(self, spec: RunSpec, claim: Claim, event: Lost) -> Fate:
        """Decide on a run whose process was killed for another one.

        Raises:
            StoreError: the database cannot be used.
        """
        return self._interrupt(spec, claim, f"{event.why}, since another run of its batch did not answer")

    def _reached(self, spec: RunSpec, claim: Claim) -> str:
        """Say how far a run had come at least, by what was told and what was recorded."""
        recorded = [attempt.step for record in self.store.runs([spec.fingerprint]) for attempt in record.attempts]
        return f"at iteration {max(claim.step, recorded[-1] if recorded else 0)} or later"

    def _interrupt(self, spec: RunSpec, claim: Claim | None, why: str) -> Fate:
        """Leave a run to be gone on with, which it is at once unless a stop was asked for."""
        goes_on = "" if self.stopping else "; it is tried again alone, from its last checkpoint if it has one"
        self.observer.note(f"{self.label(spec)}: {why}{goes_on}")
        if claim is not None:
            try:
                self.store.interrupt(claim.attempt_id, claim.token, why)
            except ClaimLost:  # by another command, which found the process gone first
                return Fate.HELD
        return Fate.AGAIN

    def _fail(self, spec: RunSpec, claim: Claim | None, reason: Reason, text: str) -> Fate:
        claim = claim or self._claimed(spec)
        if claim is None:
            return Fate.HELD
        try:
            self.store.fail(claim.attempt_id, claim.token, reason, text)
        except ClaimLost:
            return Fate.HELD
        self.observer.failed(spec, self.label(spec), reason, text.splitlines()[-1])
        return Fate.FAILED

    def _claimed(self, spec: RunSpec) -> Claim | None:
        """Claim a run that no process came to take, to record that."""
        import torch

        from ranbench.environment import describe

        owner, order = new_owner(), self.order
        device = "cpu" if order.device == "cuda" and not torch.cuda.is_available() else order.device  # a cluster's head
        answer = self.store.claim(
            spec,
            code_id=order.codes[spec.model.name, spec.data.name],
            environment=describe(torch.device(device), order.threads or torch.get_num_threads(), ""),
            owner=owner,
            is_alive=is_alive,
            rerun=order.rerun,
            since=order.since,
        )
        return Claim(answer.attempt_id, owner.token, monotonic()) if isinstance(answer, Claimed) else None


def _ordinal(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")

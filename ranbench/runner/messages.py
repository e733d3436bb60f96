"""What a call that trains tells of its runs while it works: small values, for they travel between processes.

Each names its run by the fingerprint. ``Closed``, ``Refused`` and ``TakenOver`` are the end of a run in its call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Literal

from ranbench.records import Reason, State
from ranbench.runner.events import Observer
from ranbench.spec import RunSpec


@dataclass(frozen=True, slots=True)
class Taken:
    """A run was claimed: the attempt, and the token that writes to it."""

    run: str
    attempt_id: int
    token: str


@dataclass(frozen=True, slots=True)
class Started:
    """A run begins, or goes on after ``step`` iterations."""

    run: str
    step: int


@dataclass(frozen=True, slots=True)
class Stepped:
    """So many iterations are done."""

    run: str
    step: int
    error_pct: float | None


@dataclass(frozen=True, slots=True)
class Finished:
    """A run is done, after ``seconds`` of training."""

    run: str
    error_pct: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """A run failed."""

    run: str
    reason: Reason
    error: str


@dataclass(frozen=True, slots=True)
class Left:
    """A run was left to be gone on with."""

    run: str


@dataclass(frozen=True, slots=True)
class Noted:
    """Something in one line."""

    text: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The attempt ended in ``state``."""

    run: str
    state: State


@dataclass(frozen=True, slots=True)
class Refused:
    """A run was not claimed: it is held by another command, is done, failed before, or there is no time for it."""

    run: str
    why: Literal["held", "done", "failed", "no time"]


@dataclass(frozen=True, slots=True)
class TakenOver:
    """Another command has taken the run."""

    run: str


@dataclass(frozen=True, slots=True)
class Ending:
    """The process ends after this, by itself: why, in words."""

    why: str


class Telling(Observer):
    """An observer that sends what it is told.

    Args:
        tell: sends a message.
        every: seconds between two messages on the steps of a run.
    """

    def __init__(self, tell: Callable[[object], None], every: float):
        self._tell, self._every = tell, every
        self._told: dict[str, float] = {}

    def started(self, spec: RunSpec, label: str, step: int) -> None:
        """Send it."""
        self._tell(Started(spec.fingerprint, step))

    def stepped(self, spec: RunSpec, step: int, error_pct: float | None) -> None:
        """Send it, but not every one."""
        now = monotonic()
        if now - self._told.get(spec.fingerprint, -1e9) >= self._every:
            self._told[spec.fingerprint] = now
            self._tell(Stepped(spec.fingerprint, step, error_pct))

    def finished(self, spec: RunSpec, label: str, error_pct: float, seconds: float) -> None:
        """Send it."""
        self._told.pop(spec.fingerprint, None)
        self._tell(Finished(spec.fingerprint, error_pct, seconds))

    def failed(self, spec: RunSpec, label: str, reason: Reason, error: str) -> None:
        """Send it."""
        self._told.pop(spec.fingerprint, None)
        self._tell(Failed(spec.fingerprint, reason, error))

    def left(self, spec: RunSpec) -> None:
        """Send it."""
        self._told.pop(spec.fingerprint, None)
        self._tell(Left(spec.fingerprint))

    def note(self, text: str) -> None:
        """Send it."""
        self._tell(Noted(text))

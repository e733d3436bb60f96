"""The tree of errors that a user can act on. Anything else that is raised is a bug and keeps its traceback.

Every message is one line: where, what was got, what is allowed, what to do next.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


class RanbenchError(Exception):
    """A condition that the user can mend; printed as one line, without a traceback."""

    exit_code = 2


class UsageError(RanbenchError):
    """A command line that cannot be carried out."""


@dataclass(frozen=True)
class Problem:
    """One fault of a suite or protocol file, with its place (line and column count from 1)."""

    file: str
    line: int
    column: int
    key: str
    text: str

    def __str__(self) -> str:
        key = f" {self.key}:" if self.key else ""
        return f"{self.file}:{self.line}:{self.column}:{key} {self.text}"


class SuiteError(RanbenchError):
    """A suite or protocol that does not hold; carries every problem found."""

    def __init__(self, problems: Sequence[Problem] | str):
        self.problems: tuple[Problem, ...] = () if isinstance(problems, str) else tuple(problems)
        super().__init__(problems if isinstance(problems, str) else self._one_line())

    def _one_line(self) -> str:
        more = len(self.problems) - 1
        tail = f" (and {more} more: see 'ranbench validate')" if more else ""
        return f"{self.problems[0]}{tail}"


class SpecError(RanbenchError):
    """A net, dataset or option that does not exist or does not fit."""


class StoredSpecError(SpecError):
    """A spec in a record that this version cannot read."""

    exit_code = 7


class StoreError(RanbenchError):
    """A database that cannot be used."""

    exit_code = 7


class ClaimLost(StoreError):
    """A write for an attempt that another process has taken over."""


class MergeConflict(StoreError):
    """A bundle that says something else of an attempt than the database; carries every difference found."""

    def __init__(self, label: str, conflicts: Sequence[str]):
        self.conflicts = tuple(conflicts)
        more = len(conflicts) - 1
        tail = f" (and {more} more)" if more else ""
        super().__init__(
            f"{label}: conflicts with the database: {conflicts[0]}{tail}; one of them was altered; nothing was merged"
        )


class DataError(RanbenchError):
    """A dataset that is missing or damaged."""

    exit_code = 7


class EnvironmentProblem(RanbenchError):
    """A device or library that this machine does not have."""

    exit_code = 7


class CheckpointError(RanbenchError):
    """A checkpoint that is damaged or belongs to another run."""

    exit_code = 7


class DeviceBroken(EnvironmentProblem):
    """A device that no longer answers in this process, for any run."""


class NothingMeasured(RanbenchError):
    """A check for which there is nothing to compare, or whose place is taken."""

    exit_code = 6


class Divergence(RanbenchError):
    """A loss that is not finite: of training, or of an evaluation on the way."""

    exit_code = 3

    def __init__(self, step: int, loss: float, which: str = "training"):
        self.step = step
        super().__init__(f"the {which} loss became {loss} at iteration {step}")


class ProcessLost(RanbenchError):
    """One of the processes that train a net together ended; the run can be gone on with from its last checkpoint."""

    exit_code = 3


class TimedOut(RanbenchError):
    """A run that took longer than it was allowed to."""

    exit_code = 3

    def __init__(self, step: int, seconds: float, limit: float):
        super().__init__(
            f"took {seconds:.0f} s, longer than the {limit:.0f} s of --timeout, up to iteration {step}; "
            "'ranbench run SUITE --rerun failed' with a longer one tries again"
        )


def one_line(error: BaseException) -> str:
    """Return an exception's text on one line, or its class name where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and those in whose handling or because of which it was raised."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def forget_frames(error: BaseException) -> None:
    """Drop what the functions that an error came through had in hand: it would live as long as the error does."""
    for each in chain(error):
        traceback.clear_frames(each.__traceback__)
        each.__traceback__ = None


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the known name closest to ``name``, or an empty string."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{found[0]}'?" if found else ""

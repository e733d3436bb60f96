"""The contract: calls go in as ``Task``, what becomes of them comes out as events. Plain values that can be pickled.

The life of a task: ``submit`` begins it as soon as there is a place for it. While its call runs, it may tell messages,
each of which comes out as ``Told``, in their order. At last comes exactly one of ``Returned``, ``Raised`` and ``Lost``,
and nothing after it. No executor repeats a call: whether a lost one is tried again is the caller's business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from ranbench.execution.stop import Stop


class CallFailed(Exception):
    """What a call raised elsewhere and cannot be carried over as it is; the text holds its traceback."""


@dataclass(frozen=True)
class Channel:
    """What a call is given first: the way back to whoever submitted it.

    Attributes:
        tell: hands over a message, which can be pickled; never blocks for long, and never raises where nobody listens
            any more.
        stop: the wish to stop, for this call to look at; the call then returns when it has put its things in order.
    """

    tell: Callable[[object], None]
    stop: Stop


@dataclass(frozen=True)
class Resources:
    """What a call needs: of cores and GPUs, where the executor shares them out by call; a share of a GPU counts.

    ``memory_bytes``: of the host; None: not known.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Task:
    """One call: ``call(channel, *args)``, in a process that other calls before may have used.

    Attributes:
        key: names it in events; no two open tasks of an executor have the same.
        call: a function of a module, for it is found by its name elsewhere.
        args: what it is called with, after its channel; can be pickled.
        resources: what it needs.
    """

    key: Hashable
    call: Callable[..., object]
    args: tuple[Any, ...] = ()
    resources: Resources = field(default_factory=Resources)


@dataclass(frozen=True)
class Told:
    """A message of a call that goes on."""

    key: Hashable
    message: object


@dataclass(frozen=True)
class Returned:
    """A call came to its end."""

    key: Hashable
    result: object


@dataclass(frozen=True)
class Raised:
    """A call raised an exception: the very one where it can be carried over, else a ``CallFailed`` with its text."""

    key: Hashable
    error: BaseException


@dataclass(frozen=True)
class Lost:
    """The process of a call is gone, and with it the call; what it told before was handed over.

    Attributes:
        key: of the task.
        why: in words, on one line, for a record: how the process ended.
        killed: whether ``kill`` was asked for.
        detail: what the process left behind of its end, on some lines, as the stack of a crash in native code.
        blameless: whether the call cannot be the cause, since its whole machine is gone.
    """

    key: Hashable
    why: str
    killed: bool = False
    detail: str = ""
    blameless: bool = False


Event = Told | Returned | Raised | Lost
Handle = Callable[[Event], None]


class Executor(ABC):
    """Where calls run. Used by one thread, within a ``with`` block: at its end nothing runs any more.

    An executor of processes elsewhere has to give this much:

    - ``submit`` returns at once, also where the call begins later, and ``room`` says how many more would begin now.
      Callers submit no more than there is room for, so that what comes next is decided as late as can be.
    - ``poll`` hands out all events that there are, and waits for the first no longer than it is told to.
    - A process that dies, or a node that is gone, costs the calls that ran there, each of which is ``Lost``, and no
      others; the next call finds another place.
    - ``stop`` reaches every call that runs: the ``stop`` of its channel is requested, with the signal. The calls then
      return by themselves. When the process of the caller is gone, calls are asked to stop in the same way, so that
      nothing is left behind that works on without anyone to tell.
    - ``kill`` ends the process of one call at once, whatever it does; ``Lost`` with ``killed`` follows.
    - ``close`` ends all at once, and leaves no process behind.
    """

    @property
    @abstractmethod
    def room(self) -> int:
        """How many more calls would begin now."""

    @abstractmethod
    def submit(self, task: Task) -> None:
        """Begin a call, or let it wait for a place.

        Raises:
            EnvironmentProblem: there is no place for it and will be none, for instance since no process starts.
        """

    @abstractmethod
    def poll(self, handle: Handle, seconds: float) -> None:
        """Give ``handle`` what happened, in order; wait at most ``seconds`` for the first event.

        An executor without processes of its own runs the submitted calls now, in this thread, and gives their messages
        as they are told.
        """

    @abstractmethod
    def stop(self, signal: int | None) -> None:
        """Ask every call that runs to stop, and those that were submitted and begin later."""

    @abstractmethod
    def kill(self, key: Hashable) -> None:
        """End a call at once, where that can be done; one that has ended by itself meanwhile stays as it ended."""

    @abstractmethod
    def close(self) -> None:
        """End everything at once."""

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

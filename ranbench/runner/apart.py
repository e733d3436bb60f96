"""A user's own nets and datasets made in a process of their own, so that a crash or a hang of one costs no command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self

from ranbench.errors import RanbenchError
from ranbench.execution import Channel, Event, LocalPool, Lost, Raised, Returned, Stop, Task, Told
from ranbench.records import Complexity
from ranbench.spec import DataSpec, ModelSpec

CALL_SECONDS = 600.0
POLL_SECONDS = 0.5


def count_net(channel: Channel, model: ModelSpec, data: DataSpec) -> Complexity:
    """Build and measure a trusted net; raises as ``measure_named``."""
    from ranbench.complexity import measure_named

    del channel
    return measure_named(model, data, trusted=True)


def look_at(channel: Channel, data: DataSpec, folder: Path) -> None:
    """Load a trusted dataset; raises as ``load_onto``."""
    import torch

    from ranbench.runner.loading import load_onto

    del channel
    load_onto(data, folder, torch.device("cpu"), trusted=True)


class Apart:
    """One process for such calls, which is started for the first of them. Used within a ``with`` block.

    Args:
        stop: a signal to it ends a call.
    """

    def __init__(self, stop: Stop):
        self._stop = stop
        self._pool = LocalPool(1)
        self._number = 0

    def call(self, what: str, failure: type[RanbenchError], call: Callable[..., object], *args: Any) -> Any:
        """Call ``call(channel, *args)`` there and return its result; None where a signal ended it.

        Args:
            what: names it in an error.
            failure: what is raised where the process dies or takes too long.
            call: a function of a module.
            args: can be pickled.

        Raises:
            RanbenchError: ``failure``, or what the call raised.
        """
        self._number += 1
        ends: list[Event] = []
        end = monotonic() + CALL_SECONDS
        self._pool.submit(Task(self._number, call, args))
        while not ends:
            self._pool.poll(lambda event: None if isinstance(event, Told) else ends.append(event), POLL_SECONDS)
            if self._stop.signal is not None or monotonic() > end:
                self._pool.kill(self._number)
        match ends[0]:
            case Returned(_, result):
                return result
            case Raised(_, error):
                raise error
            case Lost(_, why, killed):
                if self._stop.signal is not None:
                    return None
                said = f"took more than {CALL_SECONDS:.0f} seconds, and was ended" if killed else f"failed: {why}"
                raise failure(f"{what}: the call {said}")
        raise AssertionError(ends)

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self._pool.close()

"""The other end of a Ray executor: an actor that takes calls, one at a time, and is asked for what they tell."""

from __future__ import annotations

import os
import pickle
import queue
import socket
import sys
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ranbench.errors import EnvironmentProblem, one_line
from ranbench.execution.calls import Channel, Event, Raised, Returned, Told
from ranbench.execution.stop import Stop
from ranbench.execution.worker import carried


@dataclass(frozen=True)
class Whereabouts:
    """Where an actor lives: Ray's name of its node, the host, the process."""

    node: str
    host: str
    pid: int

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Worker:
    """What becomes a Ray actor. ``call`` takes its main thread, ``news`` and ``stop`` threads beside it."""

    def __init__(self) -> None:
        self._stop = Stop()
        self._said: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def whereabouts(self) -> Whereabouts:
        """Say where it lives, as the first sign of life."""
        import ray

        return Whereabouts(ray.get_runtime_context().get_node_id(), socket.gethostname(), os.getpid())

    def call(self, key: Hashable, content: bytes) -> None:
        """Call what was pickled; all that comes of it is news."""
        try:
            call, args = _unpacked(content)
            channel = Channel(lambda message: self._say(Told(key, message)), self._stop)
            event: Returned | Raised = Returned(key, call(channel, *args))
        except Exception as error:
            event = Raised(key, carried(error))
        try:
            self._say(event)
        except Exception as error:  # a result that cannot be carried over
            self._say(Raised(key, carried(error)))

    def news(self, seconds: float) -> list[bytes]:
        """Return the events that nobody was told yet, pickled; wait so long for the first."""
        found = []
        with suppress(queue.Empty):
            found.append(self._said.get(timeout=seconds))
            while True:
                found.append(self._said.get_nowait())
        return found

    def stop(self, signal: int | None) -> None:
        """Ask its calls to stop."""
        self._stop.request(signal)

    def _say(self, event: Event) -> None:
        self._said.put(pickle.dumps(event))


def _unpacked(content: bytes) -> Any:
    try:
        return pickle.loads(content)
    except ImportError as error:
        raise EnvironmentProblem(
            f"node {socket.gethostname()} of the Ray cluster cannot import what a call needs: {one_line(error)}; "
            f"install it for {sys.executable} there"
        ) from error

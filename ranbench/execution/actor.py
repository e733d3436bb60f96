"""The other end of a Ray executor: an actor that takes calls, one at a time, and is asked for what they tell."""

from __future__ import annotations

import io
import os
import pickle
import queue
import socket
import sys
from collections.abc import Callable, Hashable, Sequence
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

    def call(self, key: Hashable, content: bytes, kept: Sequence[Any] = ()) -> None:
        """Call what was packed; all that comes of it is news."""
        try:
            call, args = _unpacked(content, kept)
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


class _Packer(pickle.Pickler):
    """Lays aside references to what the cluster keeps: Ray must see them as such, to keep it until they are used."""

    def __init__(self, file: io.BytesIO):
        super().__init__(file)
        self.kept: list[Any] = []

    def persistent_id(self, value: object) -> int | None:
        """Return the place of a reference among those laid aside."""
        import ray

        if not isinstance(value, ray.ObjectRef):
            return None
        self.kept.append(value)
        return len(self.kept) - 1


class _Unpacker(pickle.Unpickler):
    def __init__(self, content: bytes, kept: Sequence[Any]):
        super().__init__(io.BytesIO(content))
        self._kept = kept

    def persistent_load(self, place: int) -> Any:
        """Return the reference that was laid aside."""
        return self._kept[place]


def packed(call: Callable[..., object], args: tuple[Any, ...]) -> tuple[bytes, list[Any]]:
    """Pickle a call for ``Worker.call``; beside it stand its references to what the cluster keeps."""
    file = io.BytesIO()
    packer = _Packer(file)
    packer.dump((call, args))
    return file.getvalue(), packer.kept


def received(kept: Any) -> Any:
    """Return what ``Cluster.put`` has kept, on whichever node this is.

    Raises:
        EnvironmentProblem: it is gone, or the cluster has no room for it.
    """
    import ray
    from ray.exceptions import RayError

    try:
        return ray.get(kept)
    except RayError as error:
        raise EnvironmentProblem(f"what the command sent along cannot be fetched: {one_line(error)}") from error


def _unpacked(content: bytes, kept: Sequence[Any]) -> Any:
    try:
        return _Unpacker(content, kept).load()
    except ImportError as error:
        raise EnvironmentProblem(
            f"node {socket.gethostname()} of the Ray cluster cannot import what a call needs: {one_line(error)}; "
            f"install it for {sys.executable} there"
        ) from error

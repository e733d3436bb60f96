"""The other end of a pool's pipe: a process that takes calls, one at a time, until it is told to end."""

from __future__ import annotations

import faulthandler
import os
import pickle
import queue
import signal
import threading
import traceback
from collections.abc import Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from ranbench.execution.calls import CallFailed, Channel, Raised, Returned, Told
from ranbench.execution.stop import Stop

_Call = tuple[Hashable, bytes]

ORPHAN_SECONDS = 120.0  # that a call may take to put its things in order when nobody is there any more


@dataclass(frozen=True)
class Ready:
    """What a worker sends first."""

    number: int


@dataclass(frozen=True)
class Ended:
    """The end of a call; ``leaving``: the worker ends with it."""

    event: Returned | Raised
    leaving: bool


@dataclass(frozen=True)
class Ask:
    """What a worker is asked: to call (a key, and the call and its arguments, pickled), to stop (a signal), to end."""

    what: Literal["call", "stop", "end"]
    with_: Any = None


def work(pipe: Connection, number: int, environment: Mapping[str, str], folder: str, notes: str) -> None:
    """Be a worker.

    Asked to end by a signal, it lets its call stop and return, and ends then.

    Args:
        pipe: to the pool.
        number: of the worker.
        environment: variables to be set.
        folder: where it works.
        notes: file for what is known of a crash in native code.
    """
    stop = Stop()
    asked: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()

    def leave(number: int, _frame: object) -> None:
        stop.request(number)
        asked.put(None)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGTERM, leave)
    os.environ.update(environment)
    os.chdir(folder)
    with Path(notes).open("w", encoding="utf-8") as crash:
        faulthandler.enable(crash)
        threading.Thread(target=_listen, args=(pipe, asked, stop), daemon=True, name="listen").start()
        line = _Line(pipe)
        line.send(Ready(number))
        while (call := asked.get()) is not None:
            line.end(_called(*call, line, stop), leaving=not asked.empty())  # nothing but None is asked meanwhile
        faulthandler.disable()


class _Line:
    """The way to the pool, for any thread; where nobody listens any more, nothing is said."""

    def __init__(self, pipe: Connection):
        self._pipe, self._lock = pipe, threading.Lock()

    def tell(self, key: Hashable, message: object) -> None:
        """Send a message of a call."""
        self.send(Told(key, message))

    def end(self, event: Returned | Raised, *, leaving: bool) -> None:
        """Send the end of a call; what cannot be sent is an error of it."""
        try:
            self.send(Ended(event, leaving))
        except Exception as error:
            self.send(Ended(Raised(event.key, carried(error)), leaving))

    def send(self, what: object) -> None:
        """Send anything."""
        with self._lock, suppress(OSError):
            self._pipe.send(what)


def _called(key: Hashable, content: bytes, line: _Line, stop: Stop) -> Returned | Raised:
    try:
        call, args = pickle.loads(content)
        return Returned(key, call(Channel(lambda message: line.tell(key, message), stop), *args))
    except Exception as error:
        return Raised(key, carried(error))


def carried(error: Exception) -> BaseException:
    """Return an error as it can be sent, with a note of where it was raised."""
    trace = "".join(traceback.format_exception(error))
    error.__cause__ = error.__context__ = None  # they need not be fit to be sent
    with suppress(Exception):
        again = pickle.loads(pickle.dumps(error))
        if type(again) is type(error) and str(again) == str(error):
            error.add_note(f"in a worker process:\n{trace}")
            return error
    return CallFailed(trace)


def _listen(pipe: Connection, asked: queue.SimpleQueue[_Call | None], stop: Stop) -> None:
    """Take what the pool asks for, beside the call that runs."""
    try:
        while True:
            ask: Ask = pipe.recv()
            if ask.what == "call":
                asked.put(ask.with_)
            elif ask.what == "stop":
                stop.request(ask.with_)
            else:
                asked.put(None)
                return
    except (EOFError, OSError):  # the pool's process is gone
        stop.request(signal.SIGHUP)
        asked.put(None)
        timer = threading.Timer(ORPHAN_SECONDS, os._exit, args=(1,))
        timer.daemon = True
        timer.start()

"""Calls in worker processes of this machine, each with a pipe of its own.

``concurrent.futures`` gives up its whole pool when one process dies; here a process that dies costs its own call only,
and the next call starts another in its place. A worker keeps what it has loaded from call to call.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

from ranbench.errors import EnvironmentProblem
from ranbench.execution.calls import Executor, Handle, Lost, Task
from ranbench.execution.scratch import Scratch
from ranbench.execution.worker import Ask, Ended, Ready, work

START: Literal["spawn"] = "spawn"  # a process of nothing but this one: no server between them that may die on its own
STARTS = 3  # processes in a row that die before they are ready, after which none is started any more
END_SECONDS = 5.0
CRASH_CHARACTERS = 4000


class _Place:
    """One place of the pool: its worker process, if there is one, and the task that it works on."""

    def __init__(self, number: int, environment: Mapping[str, str], folder: Path):
        self.number, self.environment = number, dict(environment)
        self.notes = folder / f"crash-{number}"
        self.process: BaseProcess | None = None
        self.pipe: Connection | None = None
        self.task: Task | None = None
        self.ready = self.killed = self.leaving = False

    @property
    def is_free(self) -> bool:
        """Whether a call would begin here now."""
        return self.task is None and not self.leaving

    def start(self) -> None:
        """Start the worker."""
        context = multiprocessing.get_context(START)
        mine, its = context.Pipe()
        self.notes.write_bytes(b"")
        arguments = (its, self.number, self.environment, str(Path.cwd()), str(self.notes))
        process = context.Process(target=work, args=arguments, name=f"worker {self.number}", daemon=False)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which the worker inherits, and ignores
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        its.close()  # so that the pipe ends with the worker
        self.process, self.pipe = process, mine
        self.ready = self.killed = self.leaving = False

    def ask(self, what: Ask) -> None:
        """Send something to the worker; one that is gone is noticed by its end."""
        if self.pipe is not None:
            with suppress(OSError):
                self.pipe.send(what)

    def forget(self) -> None:
        """Let go of a worker that has ended."""
        if self.pipe is not None:
            self.pipe.close()
        if self.process is not None:
            self.process.close()
        self.process = self.pipe = self.task = None
        self.leaving = False

    def crash(self) -> str:
        """What Python has noted of a crash in native code."""
        with suppress(OSError):
            return self.notes.read_text(encoding="utf-8", errors="replace")[:CRASH_CHARACTERS].strip()
        return ""


class LocalPool(Executor):
    """Worker processes, which are started when they are needed first.

    A worker ignores Ctrl-C, which reaches the whole group of processes: it goes by what it is told. When the caller's
    process dies, its pipes end, the calls are asked to stop, and the workers end.

    Args:
        jobs: how many there are at most; each runs one call at a time, whatever its resources.
        environments: variables of each worker's environment; they are set before it is called first.
    """

    def __init__(self, jobs: int, environments: Sequence[Mapping[str, str]] = ()):
        self._folder = Scratch("ranbench-pool-")
        given = list(environments) or [{}]
        self._places = [_Place(number, given[number % len(given)], self._folder.path) for number in range(jobs)]
        self._waiting: deque[Task] = deque()
        self._stopped: Ask | None = None
        self._unready = 0

    @property
    def room(self) -> int:
        """Places without a call."""
        return sum(place.is_free for place in self._places) - len(self._waiting)

    def submit(self, task: Task) -> None:
        """Give it to a free worker, one that is there before one that must be started."""
        self._waiting.append(task)
        self._begin()

    def poll(self, handle: Handle, seconds: float) -> None:
        """Hand out what the workers sent, and the ends of those that died."""
        signs: dict[Any, _Place] = {}  # what shows that something happened -> where
        for place in self._places:
            if place.process is not None and place.pipe is not None:
                signs |= {place.pipe: place, place.process.sentinel: place}
        happened = {place.number: place for place in (signs[sign] for sign in wait(list(signs), seconds))}
        for place in happened.values():
            if not self._receive(place, handle):
                self._ended(place, handle)
        self._begin()

    def stop(self, signal: int | None) -> None:
        """Tell every worker."""
        self._stopped = Ask("stop", signal)
        for place in self._places:
            place.ask(self._stopped)

    def kill(self, key: Hashable) -> None:
        """Kill the worker of a call."""
        for place in self._places:
            if place.task is not None and place.task.key == key and place.process is not None:
                place.killed = True
                place.process.kill()

    def close(self) -> None:
        """Let idle workers end, kill the others."""
        self._waiting.clear()
        for place in self._places:
            if place.process is not None:
                if place.task is not None or not place.ready:
                    place.process.kill()
                place.ask(Ask("end"))
        for place in self._places:
            if place.process is not None:
                place.process.join(END_SECONDS)
                if place.process.exitcode is None:
                    place.process.kill()
                    place.process.join()
                place.forget()
        self._folder.close()

    def _begin(self) -> None:
        free = [place for place in self._places if place.is_free]
        free.sort(key=lambda place: place.process is None)
        for place in free[: len(self._waiting)]:
            if place.process is None:
                place.start()
                if self._stopped is not None:
                    place.ask(self._stopped)
            task = place.task = self._waiting.popleft()
            place.ask(Ask("call", (task.key, pickle.dumps((task.call, task.args)))))

    def _receive(self, place: _Place, handle: Handle) -> bool:
        """Hand out what a worker has sent; tell whether it is still there."""
        assert place.process is not None
        assert place.pipe is not None
        gone = place.process.exitcode is not None  # asked first: what it sent before is there then
        try:
            while place.pipe.poll():
                sent = place.pipe.recv()
                if isinstance(sent, Ready):
                    place.ready, self._unready = True, 0
                    continue
                if isinstance(sent, Ended):
                    place.task, place.leaving = None, sent.leaving
                handle(sent.event if isinstance(sent, Ended) else sent)
        except (EOFError, OSError):
            place.process.join(END_SECONDS)
            if place.process.exitcode is None:  # it has closed its pipe, and does not end
                place.process.kill()
                place.process.join()
            return False
        return not gone

    def _ended(self, place: _Place, handle: Handle) -> None:
        """Tell that a worker is gone, if it had a call."""
        assert place.process is not None
        code, task, killed = place.process.exitcode or 0, place.task, place.killed
        self._unready += not place.ready and not killed
        crash = place.crash()
        place.forget()
        if task is not None:
            how = "was ended by this command" if killed else ended(code)
            handle(Lost(task.key, f"its worker process {how}", killed, crash))
        if self._unready >= STARTS:
            raise EnvironmentProblem(
                f"{STARTS} worker processes in a row ended before they were ready: the last {ended(code)}; "
                "what it said stands above"
            )


def ended(code: int) -> str:
    """Say how a process ended, from its exit code."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    causes = {
        "SIGKILL": " (by someone, or by the system for lack of memory)",
        **dict.fromkeys(("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL"), " (a crash in native code)"),
    }
    return f"was killed by {name}{causes.get(name, '')}"

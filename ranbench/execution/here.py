"""Calls in this process and this thread, one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

from ranbench.execution.calls import Channel, Executor, Handle, Raised, Returned, Task, Told
from ranbench.execution.stop import Stop


class Here(Executor):
    """Runs each call while it is polled; nothing is pickled, and a call that dies takes the caller along.

    ``stop``: of the caller, which every call is given: whoever requests it need not ask the executor, too.
    """

    def __init__(self, stop: Stop | None = None):
        self._stop = stop or Stop()
        self._waiting: deque[Task] = deque()

    @property
    def room(self) -> int:
        """One call, when none waits."""
        return 0 if self._waiting else 1

    def submit(self, task: Task) -> None:
        """Let it wait for the next poll."""
        self._waiting.append(task)

    def poll(self, handle: Handle, seconds: float) -> None:
        """Run what waits. KeyboardInterrupt and the like pass through."""
        if not self._waiting:
            self._stop.wait(seconds)
        while self._waiting:
            task = self._waiting.popleft()
            channel = Channel(lambda message, key=task.key: handle(Told(key, message)), self._stop)  # type: ignore[misc]
            try:
                result = task.call(channel, *task.args)
            except Exception as error:
                handle(Raised(task.key, error))
            else:
                handle(Returned(task.key, result))

    def stop(self, signal: int | None) -> None:
        """Ask the calls to stop."""
        if not self._stop.requested:
            self._stop.request(signal)

    def kill(self, key: Hashable) -> None:
        """Do nothing: whoever asks is called by the call itself."""

    def close(self) -> None:
        """Forget what waits."""
        self._waiting.clear()

"""A wish to stop, which the one who works looks at when it suits."""

from __future__ import annotations

import threading
import time


class Stop:
    """A wish to stop at the next whole iteration; ``signal`` is the number of the signal that asked.

    Args:
        after: seconds after which a stop is wished without any signal; None: never.
    """

    def __init__(self, after: float | None = None) -> None:
        self._event = threading.Event()
        self._end = None if after is None else time.monotonic() + after
        self.signal: int | None = None

    def request(self, signal: int | None) -> None:
        """Ask for a stop; None: no signal did."""
        self.signal = signal
        self._event.set()

    @property
    def requested(self) -> bool:
        """Whether a stop was asked for, or the time is over."""
        return self._event.is_set() or (self._end is not None and time.monotonic() >= self._end)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the time is over; None where there is no end."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def wait(self, seconds: float) -> bool:
        """Sleep, but wake at once when a stop is asked for; return whether it was."""
        left = self.seconds_left
        self._event.wait(seconds if left is None else min(seconds, left))
        return self.requested

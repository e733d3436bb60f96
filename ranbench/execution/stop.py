"""A wish to stop, which the one who works looks at when it suits."""

from __future__ import annotations

import threading
import time


class Stop:
    """A wish to stop at the next whole iteration; ``signal`` is the number of the signal that asked.

    Args:
        after: seconds after which a stop is wished without any signal; None: never.
        of: another one, whose request is one to stop here as well; see ``within``.
    """

    def __init__(self, after: float | None = None, of: Stop | None = None) -> None:
        self._event: threading.Event = threading.Event() if of is None else of._event
        self._end = None if after is None else time.monotonic() + after
        if of is not None and of._end is not None:
            self._end = of._end if self._end is None else min(self._end, of._end)
        self._of = of
        self._signal: int | None = None

    def within(self, seconds: float | None) -> Stop:
        """Return one for a part of the work: asked for with this one, and wished after a time of its own as well."""
        return Stop(seconds, self)

    @property
    def signal(self) -> int | None:
        """Number of the signal that asked for a stop, if one did."""
        return self._signal if self._of is None else self._of.signal

    def request(self, signal: int | None) -> None:
        """Ask for a stop; None: no signal did."""
        if self._of is not None:
            self._of.request(signal)
            return
        self._signal = signal
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

"""A call of a given length that needs no processor; in a module of its own, as workers find it by its name."""

from __future__ import annotations

import time

from ranbench.execution import Channel


def call(channel: Channel, seconds: float) -> float:
    """Tell that it began, wait, and return how long it took by the clock of its own process."""
    began = time.perf_counter()
    channel.tell("began")
    time.sleep(seconds)
    return time.perf_counter() - began

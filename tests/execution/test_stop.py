"""A wish to stop, and one for a part of the work."""

from __future__ import annotations

import signal

from ranbench.execution import Stop


def test_a_part_stops_with_the_whole_and_knows_the_signal() -> None:
    whole = Stop()
    part = whole.within(1000.0)
    before = part.requested

    whole.request(signal.SIGTERM)

    assert not before
    assert part.requested
    assert part.signal == signal.SIGTERM


def test_a_request_to_a_part_is_one_to_the_whole() -> None:
    whole = Stop()

    whole.within(None).request(signal.SIGINT)

    assert (whole.requested, whole.signal) == (True, signal.SIGINT)


def test_the_time_of_a_part_ends_the_part_alone_without_any_signal() -> None:
    whole = Stop()
    part = whole.within(0.0)

    assert part.requested
    assert part.signal is None
    assert (whole.requested, whole.seconds_left) == (False, None)


def test_a_part_ends_with_the_whole_at_the_latest() -> None:
    assert Stop(0.0).within(1000.0).requested
    assert Stop(1000.0).within(0.0).requested
    assert Stop(0.0).within(None).requested

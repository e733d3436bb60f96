"""Learning rates as pure functions of the iteration."""

from __future__ import annotations

import math

from ranbench.spec import Cosine, OneCycle, Schedule, Steps


def learning_rate(schedule: Schedule, iterations: int, step: int) -> float:
    """Return the rate of iteration ``step`` (from 0) of ``iterations``.

    With drops [64000, 96000], iterations 0 to 63,999 run at ``lr`` and 64,000 is the first at ``lr * factor``.
    A warm-up replaces the first rates by a straight line; the schedule itself is not moved by it.
    """
    warm_up = None if isinstance(schedule, OneCycle) else schedule.warm_up
    if warm_up is None or step >= warm_up.iterations:
        return _scheduled(schedule, iterations, step)
    start, end = schedule.lr * warm_up.start, _scheduled(schedule, iterations, warm_up.iterations)
    return start + (end - start) * step / warm_up.iterations


def _scheduled(schedule: Schedule, iterations: int, step: int) -> float:
    """Return the rate without warm-up."""
    if isinstance(schedule, Steps):
        dropped = sum(step >= drop for drop in schedule.drops)
        return schedule.lr * schedule.factor**dropped
    last = iterations - 1
    if isinstance(schedule, Cosine):
        return _half_cosine(schedule.lr, schedule.lr * schedule.end, step / last if last else 0.0)
    peak = schedule.rise * last
    if step < peak:
        return _half_cosine(schedule.lr * schedule.start, schedule.lr, step / peak)
    fall = last - peak
    return _half_cosine(schedule.lr, schedule.lr * schedule.end, (step - peak) / fall if fall else 1.0)


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2

"""Learning rates as pure functions of the iteration."""

from __future__ import annotations

import math

from ranbench.spec import OneCycle, Steps


def learning_rate(schedule: Steps | OneCycle, iterations: int, step: int) -> float:
    """Return the rate of iteration ``step`` (from 0) of ``iterations``.

    With drops [64000, 96000], iterations 0 to 63,999 run at ``lr`` and 64,000 is the first at ``lr * factor``.
    """
    if isinstance(schedule, Steps):
        dropped = sum(step >= drop for drop in schedule.drops)
        return schedule.lr * schedule.factor**dropped
    peak = schedule.rise * (iterations - 1)
    if step < peak:
        return _half_cosine(schedule.lr * schedule.start, schedule.lr, step / peak)
    fall = (iterations - 1) - peak
    return _half_cosine(schedule.lr, schedule.lr * schedule.end, (step - peak) / fall if fall else 1.0)


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2

"""Whether values are larger than others of the same kind: the test of the gate, for one comparison or many at once.

The null hypothesis is that nothing changed. Then both groups are draws of one distribution and have one spread, so that
Student's test with a pooled spread is exact for normal values, far out and for any sizes of the groups, where Welch's
is not (docs/statistics.md). A run that went wrong alone would hide in the spread that it makes itself; so the worst new
value is held against the baseline alone as well, by the prediction interval for so many new values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

MIN_VALUES = 3  # of a baseline: two have a spread, but next to no knowledge of it

Array = npt.NDArray[np.float64]


def p_larger(before: Array, now: Array, floor: Array | float) -> Array:
    """Return the p of 'the values of ``now`` are larger', one-sided, along the last axis.

    Args:
        before: (..., n) values of the baseline, ``MIN_VALUES`` or more.
        now: (..., m) new values, one or more.
        floor: smallest standard deviation that is believed, (...) or one number; where it is zero and the values have
            no spread either, values that differ have a p of zero.
    """
    n, m = before.shape[-1], now.shape[-1]
    mean = before.mean(axis=-1)
    squares = _squares(before)
    pooled = (squares + _squares(now)) / (n + m - 2)
    by_mean = _tail(now.mean(axis=-1) - mean, np.sqrt(_floored(pooled, floor) * (1 / n + 1 / m)), n + m - 2)
    if m == 1:
        return by_mean
    spread = np.sqrt(_floored(squares / (n - 1), floor) * (1 + 1 / n))
    by_worst = m * _tail(now.max(axis=-1) - mean, spread, n - 1)
    return np.asarray(np.minimum(1.0, 2.0 * np.minimum(by_mean, by_worst)))


def _squares(values: Array) -> Array:
    """Sum of squared deviations; exactly zero of equal values, whose mean may be rounded."""
    deviations = values - values.mean(axis=-1, keepdims=True)
    equal = np.ptp(values, axis=-1) == 0.0
    return np.asarray(np.where(equal, 0.0, (deviations**2).sum(axis=-1)))


def _floored(variance: Array, floor: Array | float) -> Array:
    return np.asarray(np.maximum(variance, np.square(floor)))


def _tail(difference: Array, error: Array, df: int) -> Array:
    from scipy.special import stdtr

    with np.errstate(divide="ignore", invalid="ignore"):
        t: Any = np.where(difference == 0.0, 0.0, difference / error)
    return np.asarray(stdtr(df, -t))

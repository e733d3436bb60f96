"""How likely a test is to decide, and how many seeds it takes, for true effects and spreads that are taken as known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ranbench.statistics.estimates import quantile

POWER = 0.8
MOST_SEEDS = 1000
LARGE = 30  # degrees of freedom of every group, above which the spread seen is taken for the true one
POINTS_LOG2 = 11  # 2048 equally likely samples of spreads, over which power is averaged

Array = npt.NDArray[np.float64]


def power_beyond(gap: float, spreads: Sequence[float], sizes: Sequence[int], level: float) -> float:
    """Return how often a one-sided bound at ``level`` lies beyond the threshold.

    Noncentral t for one group, and for large ones; for small ones the average over the spreads that may be seen, since
    the degrees of freedom depend on them.

    Args:
        gap: how far the true effect lies beyond the threshold.
        spreads: standard deviation of one value of each group, times the weight of the group's mean.
        sizes: number of values of each group, 2 or more.
        level: of the bound.
    """
    groups = [(spread**2 / size, size - 1) for spread, size in zip(spreads, sizes, strict=True) if spread]
    if not groups:
        return float(gap > 0)
    parts, freedom = (np.array(column, dtype=float) for column in zip(*groups, strict=True))
    se = math.sqrt(parts.sum())
    if len(groups) > 1 and freedom.min() < LARGE:
        return _averaged(gap, se, parts, freedom, level)
    return _noncentral(gap / se, _satterthwaite(parts, freedom), level)


def _averaged(gap: float, se: float, parts: Array, freedom: Array, level: float) -> float:
    """Average the power over the squared standard errors that samples of these groups show."""
    from scipy.special import stdtrit
    from scipy.stats import chi2, norm

    seen = parts * chi2.ppf(_spread_evenly(len(parts)), freedom) / freedom
    critical = -stdtrit(_satterthwaite(seen, freedom), level) * np.sqrt(seen.sum(axis=1))
    return float(np.mean(norm.sf((critical - gap) / se)))


def _satterthwaite(parts: Array, freedom: Array) -> Any:
    return parts.sum(axis=-1) ** 2 / (parts**2 / freedom).sum(axis=-1)


@cache
def _spread_evenly(dimensions: int) -> Array:
    """Points that fill the unit cube evenly, the same ones each time."""
    from scipy.stats import qmc

    points = qmc.Sobol(dimensions, scramble=False).random_base2(POINTS_LOG2)
    return np.asarray(points + 0.5 / len(points))


def power_within(deviation: float, margin: float, sd: float, size: int, level: float) -> float:
    """Return how often the two-sided interval at ``level`` lies within +/- ``margin`` of the published number.

    The mean of the values is normal, and independent of their spread; the probability is averaged over the latter.

    Args:
        deviation: of the true mean from the published number.
        margin: of the claim.
        sd: standard deviation of one value.
        size: number of values, 2 or more.
        level: of the interval.
    """
    from scipy.stats import chi2, norm

    if sd == 0.0:
        return float(abs(deviation) < margin)
    se, df = sd / math.sqrt(size), size - 1
    seen = np.sqrt(chi2.ppf(_spread_evenly(1)[:, 0], df) / df)  # standard error as seen, over the true one
    room = margin / se - quantile(level / 2, df) * seen  # on either side, for the mean
    inside = norm.cdf(room - deviation / se) - norm.cdf(-room - deviation / se)
    return float(np.mean(np.maximum(inside, 0.0)))


def seeds_needed(power_of: Callable[[int], float], power: float = POWER, *, least: int = 3) -> int | None:
    """Return the smallest number from ``least`` for which ``power_of`` reaches ``power``; None above a thousand."""
    if power_of(MOST_SEEDS) < power:
        return None
    low, high = least, MOST_SEEDS
    while low < high:
        middle = (low + high) // 2
        if power_of(middle) < power:
            low = middle + 1
        else:
            high = middle
    return low


def _noncentral(noncentrality: float, df: float, level: float) -> float:
    """Return the probability that a noncentral t exceeds the critical value at ``level``."""
    from scipy.special import nctdtr
    from scipy.stats import norm

    critical = quantile(level, df)
    below = float(nctdtr(df, noncentrality, critical))
    if math.isnan(below):  # far out; there the spread of the standard error no longer matters
        below = float(norm.cdf(critical - noncentrality))
    return 1.0 - below

"""How likely a test is to decide, and how many seeds it takes: noncentral t, with the spreads taken as known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ranbench.statistics.estimates import quantile

POWER = 0.8
MOST_SEEDS = 1000
STEPS = 2000  # equally likely spreads over which power is averaged


def power_beyond(gap: float, spreads: Sequence[float], sizes: Sequence[int], level: float) -> float:
    """Return how often a one-sided bound at ``level`` lies beyond the threshold.

    Args:
        gap: how far the true effect lies beyond the threshold.
        spreads: standard deviation of one value of each group, times the weight of the group's mean.
        sizes: number of values of each group, 2 or more.
        level: of the bound.
    """
    parts = [spread**2 / size for spread, size in zip(spreads, sizes, strict=True)]
    total = sum(parts)
    if total == 0.0:
        return float(gap > 0)
    df = 1.0 / sum((part / total) ** 2 / (size - 1) for part, size in zip(parts, sizes, strict=True))
    return _beyond(gap / math.sqrt(total), df, level)


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
    seen = np.sqrt(chi2.ppf((np.arange(STEPS) + 0.5) / STEPS, df) / df)  # standard error as seen, over the true one
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


def _beyond(noncentrality: float, df: float, level: float) -> float:
    """Return the probability that a noncentral t exceeds the critical value at ``level``."""
    from scipy.special import nctdtr
    from scipy.stats import norm

    critical = quantile(level, df)
    below = float(nctdtr(df, noncentrality, critical))
    if math.isnan(below):  # far out; there the spread of the standard error no longer matters
        below = float(norm.cdf(critical - noncentrality))
    return 1.0 - below

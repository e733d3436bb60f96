"""Means, t-intervals, tests and Holm's correction: arrays in, numbers out. No claims, no words, no records.

Everything rests on Student's t for independent, normally spread values. ``docs/statistics.md`` holds the sources and
the error rates as measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LEVEL = 0.05

Values = Sequence[float] | npt.NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """Mean over seeds with its spread, in the unit of the values.

    ``sd`` divides by n - 1; one value has none. ``half_interval`` is half the width of the 95 % t-interval of the mean;
    one value has none, and neither have values that are all equal.
    """

    n: int
    mean: float
    sd: float | None
    half_interval: float | None


@dataclass(frozen=True)
class Estimate:
    """An estimated effect, its standard error (above 0) and degrees of freedom; effect and se in the values' unit.

    (effect - true effect) / se is taken as Student's t. A p is under ``level`` exactly where the bound at ``level``
    lies on the same side of the threshold, but for rounding in the last digits.
    """

    effect: float
    se: float
    df: float

    def lower(self, level: float) -> float:
        """Return the one-sided lower bound, which lies above the true effect with probability ``level``."""
        return self.effect - self.se * _quantile(level, self.df)

    def upper(self, level: float) -> float:
        """Return the one-sided upper bound, which lies below the true effect with probability ``level``."""
        return self.effect + self.se * _quantile(level, self.df)

    def interval(self, level: float) -> tuple[float, float]:
        """Return the two-sided interval, which misses the true effect with probability ``level``."""
        return self.lower(level / 2), self.upper(level / 2)

    def p_above(self, threshold: float) -> float:
        """Test 'the effect exceeds ``threshold``': under ``level`` where ``lower(level)`` exceeds it."""
        return _tail((self.effect - threshold) / self.se, self.df)

    def p_below(self, threshold: float) -> float:
        """Test 'the effect is under ``threshold``': under ``level`` where ``upper(level)`` is under it."""
        return _tail((threshold - self.effect) / self.se, self.df)

    def p_within(self, margin: float) -> float:
        """Test 'the effect is within +/- ``margin``': under ``level`` where all of ``interval(level)`` is.

        Two one-sided tests (Schuirmann 1987), each at level / 2, since the interval is the two-sided one.
        """
        return min(1.0, 2.0 * max(self.p_above(-margin), self.p_below(margin)))

    def p_outside(self, margin: float) -> float:
        """Test 'the effect is beyond +/- ``margin``': under ``level`` where none of ``interval(level)`` is within."""
        return min(1.0, 2.0 * min(self.p_above(margin), self.p_below(-margin)))


@dataclass(frozen=True)
class HolmStep:
    """One test of a family: Holm-adjusted p, the level at which its own bound stands, and whether it is rejected."""

    p: float
    level: float
    rejected: bool


def summarise(values: Values) -> Summary:
    """Return the mean of ``values`` with its spread.

    Raises:
        ValueError: no values, or one that is not finite.
    """
    checked = _checked(values, at_least=1)
    n, mean = len(checked), float(np.mean(checked))
    if n == 1:
        return Summary(n, mean, sd=None, half_interval=None)
    sd = math.sqrt(_variance(checked))
    half = sd / math.sqrt(n) * _quantile(LEVEL / 2, n - 1)
    return Summary(n, mean, sd, half or None)


def welch(a: Values, b: Values) -> Estimate | None:
    """Estimate mean(a) - mean(b) of two independent groups whose spreads may differ (Welch 1947, Satterthwaite 1946).

    Written out, since scipy's ``ttest_ind`` warns of lost precision where all values of one group are equal; the tests
    hold it against scipy's.

    Returns:
        The estimate, or None where neither group has any spread: no interval can be formed.

    Raises:
        ValueError: fewer than two values in a group, or one that is not finite.
    """
    a, b = _checked(a, at_least=2), _checked(b, at_least=2)
    part_a, part_b = _variance(a) / len(a), _variance(b) / len(b)
    total = part_a + part_b
    if total == 0.0:
        return None
    share_a, share_b = part_a / total, part_b / total
    df = 1.0 / (share_a**2 / (len(a) - 1) + share_b**2 / (len(b) - 1))
    return Estimate(float(np.mean(a) - np.mean(b)), math.sqrt(total), df)


def one_sample(values: Values, reference: float) -> Estimate | None:
    """Estimate mean(values) - reference, where ``reference`` is taken as exact (Student 1908).

    Returns:
        The estimate, or None where the values have no spread: no interval can be formed.

    Raises:
        ValueError: fewer than two values, or one that is not finite.
    """
    checked = _checked(values, at_least=2)
    se = math.sqrt(_variance(checked) / len(checked))
    if se == 0.0:
        return None
    return Estimate(float(np.mean(checked)) - reference, se, len(checked) - 1)


def holm(p_values: Sequence[float], level: float = LEVEL) -> tuple[HolmStep, ...]:
    """Adjust a family of m tests, so that any false rejection at all has probability ``level`` at most (Holm 1979).

    Each test also gets the level at which its own, unadjusted bound agrees with the decision: ``level / (m - k)``,
    where k is the number of smaller p values for a rejected test, and the number of rejections for the others.
    """
    from statsmodels.stats.multitest import multipletests

    if not p_values:
        return ()
    plain = np.asarray(p_values, dtype=float)
    adjusted = multipletests(plain, alpha=level, method="holm")[1]
    rejected = adjusted < level
    smaller = (plain[:, None] > plain).sum(axis=1)  # of each test, the number of smaller p values
    before = np.where(rejected, smaller, rejected.sum())
    return tuple(
        HolmStep(float(p), level / (len(plain) - int(k)), bool(is_rejected))
        for p, k, is_rejected in zip(adjusted, before, rejected, strict=True)
    )


def _checked(values: Values, *, at_least: int) -> npt.NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) < at_least:
        raise ValueError(f"expected a list of at least {at_least} numbers, got {values!r}")
    if not np.isfinite(array).all():
        raise ValueError(f"expected finite numbers, got {values!r}")
    return array


def _variance(values: npt.NDArray[np.float64]) -> float:
    """Divide by n - 1. Equal values get exactly 0, which np.var misses where their mean is rounded (0.1, 0.1, 0.1)."""
    return float(np.var(values, ddof=1)) if np.ptp(values) > 0.0 else 0.0


def _quantile(level: float, df: float) -> float:
    """Return the t that is exceeded with probability ``level``."""
    from scipy.special import stdtrit

    return -float(stdtrit(df, level))


def _tail(t: float, df: float) -> float:
    """Return the probability of exceeding ``t``."""
    from scipy.special import stdtr

    return float(stdtr(df, -t))

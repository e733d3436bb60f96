"""Means, t-intervals, tests and Holm's correction. All rest on Student's t for independent, normally spread values."""

from __future__ import annotations

import gc
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
        return self.effect - self.se * quantile(level, self.df)

    def upper(self, level: float) -> float:
        """Return the one-sided upper bound, which lies below the true effect with probability ``level``."""
        return self.effect + self.se * quantile(level, self.df)

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
    half = sd / math.sqrt(n) * quantile(LEVEL / 2, n - 1)
    return Summary(n, mean, sd, half or None)


def welch(a: Values, b: Values) -> Estimate | None:
    """Estimate mean(a) - mean(b) of two independent groups whose spreads may differ (Welch 1947, Satterthwaite 1946).

    Returns:
        The estimate, or None where neither group has any spread: no interval can be formed.

    Raises:
        ValueError: fewer than two values in a group, or one that is not finite.
    """
    return contrast((1.0, -1.0), (a, b))


def contrast(weights: Sequence[float], groups: Sequence[Values]) -> Estimate | None:
    """Estimate the weighted sum of the means of independent groups whose spreads may differ.

    Welch's estimate for any number of groups; degrees of freedom by Satterthwaite (1946). Written out, since scipy's
    ``ttest_ind`` takes two groups only and warns of lost precision where all values of one are equal; the tests hold
    it against scipy's, and by simulation. Returns and raises as ``welch``.
    """
    checked = [_checked(values, at_least=2) for values in groups]
    effect = sum(weight * float(np.mean(values)) for weight, values in zip(weights, checked, strict=True))
    parts = [weight**2 * _variance(values) / len(values) for weight, values in zip(weights, checked, strict=True)]
    return _pooled(effect, parts, [len(values) for values in checked])


def log_ratio(a: Values, b: Values) -> Estimate | None:
    """Estimate log(mean(a) / mean(b)) of two independent groups, by the delta method.

    Each mean has its relative error. Returns and raises as ``welch``.

    Raises:
        ValueError: a mean that is not above zero.
    """
    groups = [_checked(values, at_least=2) for values in (a, b)]
    means = [float(np.mean(values)) for values in groups]
    if min(means) <= 0:
        raise ValueError(f"expected means above zero, got {means!r}")
    parts = [_variance(values) / len(values) / mean**2 for values, mean in zip(groups, means, strict=True)]
    return _pooled(math.log(means[0] / means[1]), parts, [len(values) for values in groups])


def _pooled(effect: float, parts: Sequence[float], sizes: Sequence[int]) -> Estimate | None:
    """Add the squared standard errors of independent parts; None where there is no spread at all."""
    total = sum(parts)
    if total == 0.0:
        return None
    df = 1.0 / sum((part / total) ** 2 / (size - 1) for part, size in zip(parts, sizes, strict=True))
    return Estimate(effect, math.sqrt(total), df)


def slope_weights(x: Sequence[float]) -> tuple[float, ...]:
    """Return the weights of means at ``x`` that make the least-squares slope times the range of ``x``.

    Their weighted sum is the change of the fitted line from the lowest x to the highest.

    Raises:
        ValueError: all x are equal.
    """
    from scipy.stats import linregress

    units = np.eye(len(x))
    if len(set(x)) < 2:
        raise ValueError(f"expected x that differ, got {x!r}")
    return tuple(float(linregress(x, unit).slope) * (max(x) - min(x)) for unit in units)


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


def prediction(values: Values) -> Estimate | None:
    """Estimate one further value of the same kind, whose interval is the prediction interval.

    Returns and raises as ``one_sample``.
    """
    mean = one_sample(values, 0.0)
    if mean is None:
        return None
    return Estimate(mean.effect, mean.se * math.sqrt(len(values) + 1), mean.df)


def holm(p_values: Sequence[float], level: float = LEVEL) -> tuple[HolmStep, ...]:
    """Adjust a family of m tests (Holm 1979).

    Any false rejection at all has probability ``level`` at most, where each p is exact. Welch's is an approximation,
    least good far out, where Holm asks: with three values and unequal spread more is rejected, as the docs measure.

    Each test also gets the level at which its own, unadjusted bound agrees with the decision: ``level / (m - k)``,
    where k is the number of smaller p values for a rejected test, and the number of rejections for the others.
    """
    from statsmodels.stats.multitest import multipletests

    if not p_values:
        return ()
    plain = np.asarray(p_values, dtype=float)
    # The function collects all garbage of the process as it ends, which takes a second where torch is loaded; what is
    # frozen is not looked at.
    gc.freeze()
    try:
        adjusted = multipletests(plain, alpha=level, method="holm")[1]
    finally:
        gc.unfreeze()
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


def quantile(level: float, df: float) -> float:
    """Return the t that is exceeded with probability ``level``."""
    from scipy.special import stdtrit

    return -float(stdtrit(df, level))


def _tail(t: float, df: float) -> float:
    """Return the probability of exceeding ``t``."""
    from scipy.special import stdtr

    return float(stdtr(df, -t))

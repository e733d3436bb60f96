"""What is printed beside a verdict and decides nothing: permutation test, sampling of the test set, McNemar's test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ranbench.statistics.estimates import LEVEL, Values

MOST_PERMUTATIONS = 19_999
TIED_BITS = 40  # of the largest value; a float has 53, of which sums lose a few


@dataclass(frozen=True)
class Permutation:
    """One-sided p of a permutation test, and the smallest that it could have been."""

    p: float
    smallest: float


@dataclass(frozen=True)
class Disagreement:
    """Two nets on the same test images.

    ``differ``: images to which they give different classes. ``more_right``: how many more of all the first net gets
    right. ``p_at_most``: McNemar's exact two-sided p lies there or below.
    """

    images: int
    differ: int
    more_right: int
    p_at_most: float


def smallest_p(a: int, b: int) -> float:
    """Return the smallest one-sided p that permutations of two groups of these sizes can give."""
    return 1 / min(math.comb(a + b, a), MOST_PERMUTATIONS + 1)


def permutation(a: Values, b: Values) -> Permutation:
    """Test 'mean(a) exceeds mean(b)' by giving the values to the groups in all ways, or in random ones if too many.

    Ways that give the same difference count as equal, though their sums are rounded in different ways: differences are
    told apart from about 1e-12 of the largest value on. The step is a power of two, so that no difference of decimal
    numbers lies halfway between two steps.
    """
    from scipy.stats import permutation_test

    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    largest = max(float(np.abs(first).max()), float(np.abs(second).max()))
    step = math.ldexp(1.0, math.frexp(largest)[1] - TIED_BITS)

    def difference(x: Values, y: Values, axis: int) -> np.ndarray:
        return np.asarray(np.rint((np.mean(x, axis=axis) - np.mean(y, axis=axis)) / step))

    found = permutation_test(
        (first, second),
        difference,
        vectorized=True,
        n_resamples=MOST_PERMUTATIONS,
        alternative="greater",
        random_state=np.random.default_rng(0),
    )
    return Permutation(float(found.pvalue), smallest_p(len(a), len(b)))


def sampling_interval(share: float, size: int, level: float = LEVEL) -> tuple[float, float]:
    """Return Wilson's interval of a share of ``size`` draws."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(share * size, size, alpha=level, method="wilson")
    return float(low), float(high)


def disagreement(a: Sequence[int], b: Sequence[int], wrong_a: int, wrong_b: int) -> Disagreement:
    """Compare two nets by their predictions of the same images and the number of errors of each, without labels.

    McNemar's test asks for the images that only one of them gets right. Their numbers differ by ``wrong_b - wrong_a``,
    and they sum to the images on which the nets differ, but for those that both get wrong in two ways. Taking them all
    makes p largest, since p grows with the sum for a given difference.

    Raises:
        ValueError: predictions of different images, or errors that they cannot have.
    """
    from statsmodels.stats.contingency_tables import mcnemar

    if len(a) != len(b) or not len(a):
        raise ValueError(f"expected predictions of the same images, got {len(a)} and {len(b)}")
    differ = int(np.count_nonzero(_numbers(a) != _numbers(b)))
    more_right = wrong_b - wrong_a
    if abs(more_right) > differ:
        raise ValueError(f"{abs(more_right)} more errors, but only {differ} predictions that differ")
    total = differ - (differ - more_right) % 2
    only_a, only_b = (total + more_right) // 2, (total - more_right) // 2
    p = float(mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue) if total else 1.0
    return Disagreement(len(a), differ, more_right, min(1.0, p))


def _numbers(classes: Sequence[int]) -> np.ndarray:
    return np.frombuffer(classes, np.uint8) if isinstance(classes, bytes) else np.asarray(classes)

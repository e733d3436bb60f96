"""Power, and what stands beside a verdict: against scipy and statsmodels, by counting, by simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.power import TTestIndPower, TTestPower

from ranbench.statistics import (
    LEVEL,
    MOST_SEEDS,
    Estimate,
    contrast,
    disagreement,
    log_ratio,
    permutation,
    power_beyond,
    power_within,
    prediction,
    sampling_interval,
    seeds_needed,
    slope_weights,
    smallest_p,
    summarise,
    welch,
)


def test_power_agrees_with_statsmodels():
    """Statsmodels pools the spreads of two groups: what that gains is gone in groups of twenty."""
    for effect, n, level in itertools.product((0.2, 1.0, 2.5), (3, 5, 20, 50), (0.05, 0.005)):
        two = TTestIndPower().power(effect, n, level, alternative="larger")
        one = TTestPower().power(effect, n, level, alternative="larger")

        welchs = power_beyond(3 * effect, (3.0, 3.0), (n, n), level)

        assert power_beyond(3 * effect, (3.0,), (n,), level) == pytest.approx(one, abs=1e-6)
        assert welchs <= two + 1e-3
        if n >= 20:
            assert welchs == pytest.approx(two, abs=0.01)


@pytest.mark.parametrize(("n", "sd"), [((3, 3), (1.0, 1.0)), ((3, 5), (1.0, 3.0)), ((5, 5, 5), (1.0, 2.0, 0.5))])
def test_the_power_of_small_groups_is_as_simulated(n, sd):
    rng = np.random.default_rng(0)
    groups = [rng.normal(0, s, (size, 100_000)) for s, size in zip(sd, n, strict=True)]
    parts = np.array([group.var(axis=0, ddof=1) / len(group) for group in groups])
    freedom = np.array(n)[:, None] - 1
    df = parts.sum(axis=0) ** 2 / (parts**2 / freedom).sum(axis=0)
    effect = 3.0 + sum(group.mean(axis=0) for group in groups)

    found = power_beyond(3.0, sd, n, LEVEL)

    decided = effect - stats.t.ppf(1 - LEVEL, df) * np.sqrt(parts.sum(axis=0)) > 0
    assert found == pytest.approx(decided.mean(), abs=0.008)


@pytest.mark.parametrize("gap", [-1.0, 0.0, 1.0, 1e6])
def test_power_is_a_probability_however_far_the_truth_lies(gap):
    power = power_beyond(gap, (1e-3, 1e-3), (500, 500), LEVEL)

    assert 0 <= power <= 1
    assert power == pytest.approx(LEVEL if gap == 0 else float(gap > 0), abs=1e-3)


def test_without_spread_power_is_certain():
    assert [power_beyond(gap, (0.0, 0.0), (3, 3), LEVEL) for gap in (1.0, 0.0, -1.0)] == [1.0, 0.0, 0.0]
    assert [power_within(deviation, 1.0, 0.0, 3, LEVEL) for deviation in (0.5, -0.5, 1.0)] == [1.0, 1.0, 0.0]


def test_the_power_of_two_one_sided_tests_is_as_simulated():
    rng = np.random.default_rng(0)
    for deviation, sd, n in ((0.0, 1.0, 5), (0.4, 0.7, 10), (-0.4, 0.7, 10)):
        values = rng.normal(deviation, sd, (n, 100_000))
        half = stats.t.ppf(1 - LEVEL / 2, n - 1) * values.std(axis=0, ddof=1) / math.sqrt(n)
        mean = values.mean(axis=0)

        found = power_within(deviation, 1.0, sd, n, LEVEL)

        assert found == pytest.approx(np.mean((mean - half > -1) & (mean + half < 1)), abs=0.006)


def test_the_smallest_number_of_seeds_is_found():
    needed = seeds_needed(lambda n: power_beyond(1.0, (1.0, 1.0), (n, n), LEVEL))

    assert needed == math.ceil(TTestIndPower().solve_power(1.0, alpha=LEVEL, power=0.8, alternative="larger")) == 14
    assert seeds_needed(lambda n: 1.0) == 3
    assert seeds_needed(lambda n: 1.0, least=1) == 1
    assert seeds_needed(lambda n: float(n >= MOST_SEEDS)) == MOST_SEEDS
    assert seeds_needed(lambda n: 0.79) is None


def test_a_contrast_of_two_groups_is_welchs():
    a, b = [1.0, 2.0, 4.0], [0.5, 0.7, 0.6, 0.2]

    assert contrast((1.0, -1.0), (a, b)) == welch(a, b)
    assert contrast((-2.0, 2.0), (a, b)) == Estimate(
        pytest.approx(-2 * welch(a, b).effect), pytest.approx(2 * welch(a, b).se), pytest.approx(welch(a, b).df)
    )


def test_a_contrast_of_one_group_that_weighs_is_students():
    values = [1.0, 2.0, 4.0]

    found = contrast((0.0, 1.0, 0.0), ([7.0, 9.0], values, [3.0, 3.5]))

    theirs = stats.ttest_1samp(values, 0.0, alternative="greater")
    assert (found.df, found.p_above(0.0)) == (pytest.approx(2.0), pytest.approx(theirs.pvalue))


def test_slope_weights_give_the_change_of_the_fitted_line():
    rng = np.random.default_rng(0)
    for size in (2, 3, 5):
        x, y = sorted(rng.uniform(0, 100, size)), rng.normal(0, 1, size)

        change = np.dot(slope_weights(x), y)

        assert change == pytest.approx(stats.linregress(x, y).slope * (x[-1] - x[0]))
    assert slope_weights([0.0, 1.0, 2.0]) == pytest.approx((-1.0, 0.0, 1.0))
    with pytest.raises(ValueError, match="differ"):
        slope_weights([3.0, 3.0])


def test_a_log_ratio_has_the_relative_errors_of_both_means():
    a, b = [4.8, 5.0, 5.2], [9.0, 10.0, 11.0]

    found = log_ratio(a, b)

    relative = [summarise(one).sd / summarise(one).mean / math.sqrt(3) for one in (a, b)]
    assert (found.effect, found.se) == (pytest.approx(math.log(0.5)), pytest.approx(math.hypot(*relative)))
    assert found.df == pytest.approx(sum(r**2 for r in relative) ** 2 / sum(r**4 / 2 for r in relative))
    with pytest.raises(ValueError, match="above zero"):
        log_ratio([0.0, 0.0], b)


def test_one_new_value_lies_in_its_interval_as_often_as_said():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        *seen, new = rng.normal(5.0, 2.0, 6)
        low, high = prediction(seen).interval(LEVEL)
        inside += low <= new <= high

    assert inside / 2000 == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 2000))
    assert prediction([1.0, 1.0]) is None


def test_a_permutation_p_is_the_share_of_ways_that_are_as_extreme():
    a, b = [3.0, 5.0, 6.0, 7.0], [1.0, 2.0, 4.0]
    pool = a + b
    ways = [sum(pool[i] for i in way) for way in itertools.combinations(range(7), 4)]

    found = permutation(a, b)

    assert found.p == pytest.approx(sum(way >= sum(a) - 1e-9 for way in ways) / len(ways))
    assert found.smallest == smallest_p(4, 3) == 1 / 35


def test_a_permutation_test_of_many_values_repeats():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.5, 1, 12), rng.normal(0, 1, 12)

    first, second = permutation(a, b), permutation(a, b)

    assert first == second
    assert first.smallest == 1 / 20_000
    assert first.p == pytest.approx(stats.ttest_ind(a, b, alternative="greater").pvalue, abs=0.02)


def test_a_sampling_interval_is_wilsons():
    low, high = sampling_interval(0.05, 10_000)

    z = stats.norm.ppf(1 - LEVEL / 2)
    middle, half = 0.05 + z**2 / 20_000, z * math.sqrt(0.05 * 0.95 / 10_000 + z**2 / (4 * 10_000**2))
    assert (low, high) == pytest.approx([(middle + sign * half) / (1 + z**2 / 10_000) for sign in (-1, 1)])
    assert sampling_interval(0.0, 100)[0] == pytest.approx(0.0, abs=1e-12)


def test_mcnemars_p_without_labels_is_never_below_the_true_one():
    rng = np.random.default_rng(0)
    exact = 0
    for _ in range(300):
        images = int(rng.integers(1, 60))
        labels, a, b = (rng.integers(0, 4, images) for _ in range(3))
        agree = rng.random((2, images)) < rng.uniform(0.2, 0.99)
        a, b = np.where(agree[0], labels, a), np.where(agree[1], labels, b)
        right_a, right_b = a == labels, b == labels
        table = [[0, int((right_a & ~right_b).sum())], [int((~right_a & right_b).sum()), 0]]
        true = min(1.0, mcnemar(table, exact=True).pvalue) if sum(map(sum, table)) else 1.0

        found = disagreement(bytes(a.tolist()), bytes(b.tolist()), int((~right_a).sum()), int((~right_b).sum()))

        assert found.more_right == int(right_a.sum()) - int(right_b.sum())
        assert found.p_at_most >= true - 1e-12
        both_wrong_in_two_ways = int((~right_a & ~right_b & (a != b)).sum())
        if both_wrong_in_two_ways == 0:
            assert found.p_at_most == pytest.approx(true)
            exact += 1
    assert exact > 30


@pytest.mark.parametrize(
    ("a", "b", "errors", "text"),
    [
        (b"\1\2", b"\1", (0, 0), "same images, got 2 and 1"),
        (b"", b"", (0, 0), "same images, got 0 and 0"),
        (b"\1\2", b"\1\3", (0, 2), "2 more errors, but only 1 predictions that differ"),
    ],
)
def test_predictions_that_cannot_be_are_refused(a, b, errors, text):
    with pytest.raises(ValueError, match=text):
        disagreement(a, b, *errors)

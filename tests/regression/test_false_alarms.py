"""How often the gate calls a night a regression in which nothing changed, and that it sees what is large."""

from __future__ import annotations

import numpy as np
import pytest

from ranbench.regression import Baseline, CellResult, Header, SuiteResult, compare, confirmed, floors_of
from ranbench.regression.rules import ALARMS_A_NIGHT
from ranbench.regression.values import WATCHED

from .nights import SHIFTS, Array, Tails, alarms, alarms_kept, draw, falls, measured

SIZES = [(3, 3), (5, 3), (10, 3), (10, 1), (10, 5)]


def rate(nights: int, seeds: tuple[int, int], seed: int, tails: Tails = "normal") -> float:
    """Share of nights that end with code 4, each with a baseline of its own, after other seeds of what became worse."""
    rng = np.random.default_rng(seed)
    before, now, again = (draw(rng, nights, number, tails) for number in (*seeds, seeds[1]))
    fallen = falls(before, now) if seeds[1] > 1 else np.zeros(nights, dtype=bool)
    return float((alarms_kept(before, now, again) | fallen).mean())


def test_of_a_thousand_nights_without_change_at_most_one_in_a_hundred_is_called_a_regression() -> None:
    assert rate(1_000, (10, 3), seed=0) <= ALARMS_A_NIGHT


@pytest.mark.slow
@pytest.mark.parametrize("tails", ["normal", "heavy"])
@pytest.mark.parametrize("seeds", SIZES, ids=str)
def test_of_ten_thousand_nights_without_change_at_most_one_in_a_hundred_is_called_a_regression(
    seeds: tuple[int, int], tails: Tails
) -> None:
    assert rate(10_000, seeds, 1, tails) <= ALARMS_A_NIGHT


@pytest.mark.slow
def test_other_seeds_take_most_false_alarms_back_where_some_seeds_go_badly_by_themselves() -> None:
    rng = np.random.default_rng(5)
    before, now, again = (draw(rng, 1_000, number, "outliers") for number in (10, 3, 3))

    assert alarms_kept(before, now, again).mean() < alarms(before, now).mean() / 5


@pytest.mark.slow
def test_years_against_one_baseline_alarm_no_more_often_on_the_whole() -> None:
    """A baseline that is unlucky alarms more often than others: nights against one are not independent."""
    rng = np.random.default_rng(2)
    rates = []
    for _ in range(100):
        before, now = draw(rng, 1, 10), draw(rng, 100, 3)
        rates.append(alarms(np.broadcast_to(before, (100, *before.shape[1:])), now).mean())

    assert np.mean(rates) <= ALARMS_A_NIGHT


@pytest.mark.slow
def test_five_spreads_worse_is_seen_by_a_baseline_of_ten_in_most_nights() -> None:
    """Of one metric of one cell, whose spread is at the floor or above it."""
    rng = np.random.default_rng(3)
    before, now = draw(rng, 1_000, 10), draw(rng, 1_000, 3)
    again = draw(rng, 1_000, 3)
    index = next(
        n for n, one in enumerate(measured()) if (one.cell, one.metric) == ("attention-164, naive", "error_pct")
    )
    for values in (now, again):
        values[:, index] += 5 * measured()[index].sd

    assert alarms_kept(before, now, again).mean() > 0.9


@pytest.mark.slow
def test_the_simulation_decides_as_the_gate_does() -> None:
    rng = np.random.default_rng(4)
    before, now, again = draw(rng, 60, 5), draw(rng, 60, 3), draw(rng, 60, 3)
    now[::2, 4] += 1.2  # a loss on the log scale
    again[::4, 4] += 1.2

    reports = [compare(baseline(old), [suite(new)], "2026-12-01") for old, new in zip(before, now, strict=True)]
    kept = [
        confirmed(report, baseline(old), [suite(other)], "")
        for report, old, other in zip(reports, before, again, strict=True)
    ]

    assert [report.exit_code() == 4 for report in reports] == list(alarms(before, now))
    assert [report.exit_code() == 4 for report in kept] == list(alarms_kept(before, now, again))
    assert 0 < sum(alarms_kept(before, now, again)) < sum(alarms(before, now)) < 60


def suite(values: Array) -> SuiteResult:
    """A suite whose metrics have such values on their scales, (comparisons, seeds)."""
    cells: dict[str, dict[str, dict[int, float]]] = {}
    for one, row in zip(measured(), values, strict=True):
        plain = np.exp(row) if WATCHED[one.metric].scale == "log" else row
        cells.setdefault(one.cell, {})[one.metric] = dict(enumerate(plain.tolist()))
    assert {tuple(metrics) for metrics in cells.values()} == {SHIFTS}
    return SuiteResult(
        "digits", "0" * 64, True, tuple(CellResult(name, name, {}, found) for name, found in cells.items())
    )


def baseline(values: Array) -> Baseline:
    made = suite(values)
    return Baseline(Header("c", None, {}, {}), {"digits": made}, floors_of(made))

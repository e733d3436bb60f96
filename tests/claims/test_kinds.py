"""Claims that range over a matrix, trends and ratios: effects by hand, bounds, outcomes, sentences."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from scipy import stats

from ranbench.claims import Outcome, judge
from ranbench.records import State
from ranbench.statistics import LEVEL, welch

from .conftest import HIGH, LOW, NAIVE_56, NAIVE_164, RESIDUAL_56, RESIDUAL_164, attempt, done, record

OVER = """
  - {id: everywhere, kind: better, over: [model], a: {learning: residual}, b: {learning: naive}, metric: error_pct}
"""

RATIO = """
  - id: four-fifths
    kind: ratio
    a: {model: attention-164, learning: residual}
    b: {model: attention-164, learning: naive}
    metric: error_pct
    at_most: 0.8
"""

DEPTHS = """
name: small
title: Three depths
reference: digits
protocol: digits
seeds: 5
datasets: {digits: {train: 1437, test: 360}}
cells:
  fixed: {dataset: digits}
  matrix: {model: [attention-56, attention-92, attention-164], learning: [residual, naive]}
claims:
"""

TREND = """
  - {id: naive-rises, kind: trend, along: model, cells: {learning: naive}, metric: error_pct, direction: rising}
"""

GAP = """
  - id: gap-grows
    kind: trend
    along: model
    x: depth
    a: {learning: naive}
    b: {learning: residual}
    metric: error_pct
    direction: rising
    min_effect: 0.5
"""

NOISE = """
name: small
title: Noise
reference: digits
protocol: digits
seeds: 3
datasets: {digits: {train: 1437, test: 360}}
cells:
  fixed: {dataset: digits, model: attention-56}
  matrix: {noise: [0.1, 0.3, 0.7]}
claims:
  - {id: noise-hurts, kind: trend, along: noise, x: value, cells: {}, metric: error_pct, direction: rising}
"""


def moved(values, by):
    return [value + by for value in values]


def all_four(suite, shallow, deep):
    """Residual learning with LOW, naive learning that much higher at either depth."""
    return [
        *done(suite, RESIDUAL_56, LOW),
        *done(suite, NAIVE_56, moved(LOW, shallow)),
        *done(suite, RESIDUAL_164, LOW),
        *done(suite, NAIVE_164, moved(LOW, deep)),
    ]


def at(model, learning):
    return {"model": model, "learning": learning}


# --- better, over a matrix


def test_a_claim_over_a_matrix_is_reproduced_where_it_holds_everywhere(suite_of):
    suite = suite_of(OVER)

    [verdict] = judge(suite, all_four(suite, 2.0, 4.0))

    shallow = welch(moved(LOW, 2.0), LOW)
    assert (verdict.outcome, verdict.effect) == (Outcome.REPRODUCED, pytest.approx(2.0))
    assert verdict.p == pytest.approx(shallow.p_above(0.0))  # the largest of the two
    assert verdict.low == pytest.approx(shallow.lower(LEVEL))
    assert verdict.high == pytest.approx(shallow.upper(LEVEL / 2))  # its share of the level
    assert [(member.at, member.outcome, member.effect, member.n) for member in verdict.members] == [
        ("attention-56", Outcome.REPRODUCED, pytest.approx(2.0), (5, 5)),
        ("attention-164", Outcome.REPRODUCED, pytest.approx(4.0), (5, 5)),
    ]
    assert verdict.sentence == (
        "Reproduced: of 2 comparisons this one decides: the advantage of 'attention-56, residual' over 'attention-56, "
        "naive' in test error is +2 percentage points (95 % one-sided bounds +1.07 to +3.15, n = 5 and 5, Welch "
        "t-test, Holm-adjusted p = 0.002); a lower bound of 0 or less at any comparison would undo it."
    )


WIDE = (1.0, 5.0, 9.0, 2.0, 8.0), (4.0, 6.0, 9.0, 12.0, 9.0)  # effect 3, which five seeds do not show
NARROW = (4.0, 4.1, 3.9, 4.0, 4.05), (5.0, 5.1, 4.9, 5.0, 5.05)  # effect 1, which they do


@pytest.mark.parametrize("claim", [OVER, OVER.replace("better", "ratio").replace("pct}", "pct, at_most: 0.9}")])
@pytest.mark.parametrize("models", [("attention-56", "attention-164"), ("attention-164", "attention-56")])
def test_all_that_a_sentence_says_is_of_the_comparison_that_decides(suite_of, claim, models):
    suite = suite_of(claim)
    wide, narrow = models
    records = [
        run
        for model, (a, b) in ((wide, WIDE), (narrow, NARROW))
        for run in done(suite, at(model, "residual"), a) + done(suite, at(model, "naive"), b)
    ]

    [verdict] = judge(suite, records)

    [own] = [member for member in verdict.members if member.at == wide]
    assert (verdict.outcome, own.outcome) == (Outcome.INCONCLUSIVE, Outcome.INCONCLUSIVE)
    assert (verdict.effect, verdict.low, verdict.high) == (own.effect, own.low, own.high)
    assert (verdict.need.effect, verdict.need.basis) == (own.effect, "seen")
    assert "of 2 comparisons this one decides: the " in verdict.sentence
    assert f"'{wide}, residual'" in verdict.sentence and narrow not in verdict.sentence
    assert verdict.sentence.endswith(", as seen here, and the spread is as seen.")


OTHERS = {"reproduced": moved(HIGH, 4.0), "refuted": moved(HIGH, -4.0), "undecided": moved(HIGH, 0.5)}


@pytest.mark.parametrize(
    ("naive", "outcome"),
    [
        ((None, None, None), Outcome.NOT_RUN),
        ((None, LOW[:2], LOW[:2]), Outcome.INCONCLUSIVE),
        ((None, None, LOW[:2]), Outcome.INCONCLUSIVE),
        ((None, OTHERS["reproduced"], OTHERS["reproduced"]), Outcome.INCONCLUSIVE),
        ((None, LOW[:2], OTHERS["refuted"]), Outcome.NOT_REPRODUCED),
        ((OTHERS["reproduced"], OTHERS["refuted"], OTHERS["undecided"]), Outcome.NOT_REPRODUCED),
        ((OTHERS["reproduced"], OTHERS["undecided"], OTHERS["reproduced"]), Outcome.INCONCLUSIVE),
        ((OTHERS["reproduced"], OTHERS["reproduced"], OTHERS["reproduced"]), Outcome.REPRODUCED),
    ],
)
def test_the_order_of_comparisons_does_not_matter(suite_of, naive, outcome):
    suite = suite_of(OVER, head=DEPTHS)
    models = ("attention-56", "attention-92", "attention-164")
    found = []
    for order in itertools.permutations(models):
        records = [run for model in models for run in done(suite, at(model, "residual"), HIGH)]
        for model, values in zip(order, naive, strict=True):
            records += done(suite, at(model, "naive"), values or ())

        [verdict] = judge(suite, records)

        found.append((verdict.outcome, verdict.effect, verdict.low, verdict.high, verdict.p, verdict.need))
    assert {one[0] for one in found} == {outcome}
    assert len(set(found)) == 1


def test_what_cannot_be_tested_has_its_own_reason(suite_of):
    suite = suite_of(OVER, head=DEPTHS)
    records = done(suite, at("attention-92", "residual"), LOW[:2]) + done(suite, at("attention-92", "naive"), HIGH)
    records += done(suite, at("attention-164", "residual"), LOW) + done(suite, at("attention-164", "naive"), HIGH)

    [verdict] = judge(suite, records)

    assert (verdict.outcome, verdict.effect, verdict.p) == (Outcome.INCONCLUSIVE, pytest.approx(4.0), None)
    assert verdict.sentence == (
        "Inconclusive: 2 of 3 comparisons cannot be tested: attention-56: no finished run (three finished seeds per "
        "arm would allow a test); attention-92: it needs three seeds per arm, has 2 and 5 "
        "(more seeds would allow one); "
        "of 3 comparisons the only tested one: the advantage of 'attention-164, residual' over 'attention-164, naive' "
        "in test error is +4 percentage points (95 % one-sided bounds +3.07 to +5.28, n = 5 and 5, Welch t-test)."
    )


def test_comparisons_that_lack_the_same_are_told_once(suite_of):
    suite = suite_of(OVER, head=DEPTHS)
    records = [run for model in ("attention-56", "attention-164") for run in done(suite, at(model, "naive"), LOW[:2])]
    records += [run for model in ("attention-56", "attention-164") for run in done(suite, at(model, "residual"), LOW)]

    [some], [none] = judge(suite, records), judge(suite, [])

    assert none.sentence == (
        "Not run: 3 of 3 comparisons cannot be tested: no finished run; "
        "three finished seeds per arm would allow a test."
    )
    assert "attention-56 and attention-164: it needs three seeds per arm, has 5 and 2 (" in some.sentence
    assert some.effect is None


def test_one_comparison_that_fails_refutes_a_claim_over_a_matrix(suite_of):
    suite = suite_of(OVER)

    [verdict] = judge(suite, all_four(suite, -2.0, 4.0))

    assert (verdict.outcome, verdict.effect) == (Outcome.NOT_REPRODUCED, pytest.approx(-2.0))
    assert verdict.p == pytest.approx(2 * welch(moved(LOW, -2.0), LOW).p_below(0.0))  # Holm's first step of two
    assert [member.outcome for member in verdict.members] == [Outcome.NOT_REPRODUCED, Outcome.REPRODUCED]
    assert verdict.sentence.endswith("an upper bound of 0 or more at every comparison would undo it.")


def test_one_undecided_comparison_leaves_a_claim_over_a_matrix_inconclusive(suite_of):
    suite = suite_of(OVER)

    [verdict] = judge(suite, all_four(suite, 0.5, 4.0))

    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert [member.outcome for member in verdict.members] == [Outcome.INCONCLUSIVE, Outcome.REPRODUCED]
    assert "0 is not outside the bounds; " in verdict.sentence
    assert verdict.need.effect == pytest.approx(0.5)


def test_a_missing_comparison_never_passes(suite_of):
    suite = suite_of(OVER)
    records = done(suite, RESIDUAL_56, LOW) + done(suite, NAIVE_56, HIGH)

    [verdict] = judge(suite, records)

    assert (verdict.outcome, verdict.effect, verdict.p) == (Outcome.INCONCLUSIVE, pytest.approx(4.0), None)
    assert [member.outcome for member in verdict.members] == [Outcome.REPRODUCED, Outcome.NOT_RUN]
    assert verdict.reason == (
        "1 of 2 comparisons cannot be tested: attention-164: no finished run; "
        "three finished seeds per arm would allow a test"
    )
    assert verdict.sentence == (
        f"Inconclusive: {verdict.reason}; of 2 comparisons the only tested one: the advantage of 'attention-56, "
        "residual' over 'attention-56, naive' in test error is +4 percentage points (95 % one-sided bounds +3.07 to "
        "+5.15, n = 5 and 5, Welch t-test)."
    )


def test_a_missing_comparison_does_not_save_a_claim_that_fails_elsewhere(suite_of):
    suite = suite_of(OVER)
    records = done(suite, RESIDUAL_56, HIGH) + done(suite, NAIVE_56, LOW)

    [verdict] = judge(suite, records)

    assert verdict.outcome is Outcome.NOT_REPRODUCED
    assert [member.outcome for member in verdict.members] == [Outcome.NOT_REPRODUCED, Outcome.NOT_RUN]
    assert verdict.sentence.endswith(
        "would undo it; 1 of 2 comparisons cannot be tested: attention-164: no finished run; "
        "three finished seeds per arm would allow a test."
    )


def test_without_any_run_a_claim_over_a_matrix_is_not_run(suite_of):
    [verdict] = judge(suite := suite_of(OVER), [])

    assert (verdict.outcome, {member.outcome for member in verdict.members}) == (Outcome.NOT_RUN, {Outcome.NOT_RUN})
    assert len(verdict.n) == 2 * len(suite.claims[0].pairs)


def test_smoke_runs_decide_no_comparison(suite_of):
    suite = suite_of(OVER, protocol="smoke")

    [verdict] = judge(suite, all_four(suite, 2.0, 4.0))

    assert (verdict.outcome, verdict.members) == (Outcome.NOT_RUN, ())
    assert verdict.reason == "runs of smoke fidelity never count"


# --- trend


def three_depths(suite, learning, *shifts):
    models = ("attention-56", "attention-92", "attention-164")
    return [
        run
        for model, by in zip(models, shifts, strict=True)
        for run in done(suite, at(model, learning), moved(LOW, by))
    ]


def test_a_trend_is_the_change_of_the_fitted_line_over_its_range(suite_of):
    suite = suite_of(TREND, head=DEPTHS)

    [verdict] = judge(suite, three_depths(suite, "naive", 0.0, 1.0, 4.0))

    # x = 0, 1, 2: the slope is half of last minus first, so the change over the range is last minus first
    assert (verdict.outcome, verdict.effect) == (Outcome.REPRODUCED, pytest.approx(4.0))
    assert verdict.p == pytest.approx(welch(moved(LOW, 4.0), LOW).p_above(0.0))
    assert (verdict.n, verdict.unit) == ((5, 5, 5), "percentage points")
    assert verdict.sentence == (
        "Reproduced: the fitted rise of test error from 'attention-56, naive' to 'attention-164, naive' is "
        "+4 percentage points (95 % one-sided bounds +3.07 to +4.93, n = 5 in each of 3 cells, Welch t-test of the "
        "slope, Holm-adjusted p < 0.0001); a lower bound of 0 or less would undo it."
    )


def test_a_falling_trend_of_rising_values_is_not_reproduced(suite_of):
    suite = suite_of(TREND.replace("rising", "falling"), head=DEPTHS)

    [verdict] = judge(suite, three_depths(suite, "naive", 0.0, 1.0, 4.0))

    assert (verdict.outcome, verdict.effect) == (Outcome.NOT_REPRODUCED, pytest.approx(-4.0))
    assert "the fitted fall of test error" in verdict.sentence


def test_the_trend_of_a_gap_is_taken_over_trunk_depth(suite_of):
    suite = suite_of(GAP, head=DEPTHS)
    records = three_depths(suite, "naive", 1.0, 2.0, 4.0) + three_depths(suite, "residual", 0.0, 0.0, 0.0)

    [verdict] = judge(suite, records)

    depths = (38, 62, 110)  # of the digits form, which has two stages in place of three
    gap = stats.linregress(depths, (1.0, 2.0, 4.0))
    assert verdict.effect == pytest.approx(gap.slope * (110 - 38))
    assert verdict.outcome is Outcome.REPRODUCED
    assert "the fitted rise of the gap in test error from 'attention-56, naive' to 'attention-164, naive' over " in (
        verdict.sentence
    )


def test_a_trend_over_axis_values_needs_every_cell(suite_of):
    suite = suite_of(head=NOISE)
    two = [run for noise in (0.1, 0.3) for run in done(suite, {"noise": noise}, LOW[:3])]
    three = two + done(suite, {"noise": 0.7}, HIGH[:3])

    [without], [whole] = judge(suite, two), judge(suite, three)

    assert (without.outcome, without.reason) == (Outcome.NOT_RUN, "no finished run of 'noise 0.7'")
    means = (1.5, 1.5, 5.5)
    assert whole.effect == pytest.approx(stats.linregress((0.1, 0.3, 0.7), means).slope * 0.6)


# --- ratio


def test_a_ratio_is_reproduced_where_its_upper_bound_is_below_the_most(suite_of):
    suite = suite_of(RATIO)
    residual, naive = (4.8, 4.9, 5.0, 5.1, 5.2), (9.6, 9.8, 10.0, 10.2, 10.4)

    [verdict] = judge(suite, done(suite, RESIDUAL_164, residual) + done(suite, NAIVE_164, naive))

    relative = math.sqrt(0.025 / 5) / 5  # of either mean: sd^2 = 0.025 of 5, 0.1 of 10
    t_8 = 1.8595480375308981
    assert (verdict.outcome, verdict.effect, verdict.unit) == (Outcome.REPRODUCED, pytest.approx(0.5), "times")
    assert verdict.low == pytest.approx(0.5 * math.exp(-t_8 * relative * math.sqrt(2)))
    assert verdict.high == pytest.approx(0.5 * math.exp(t_8 * relative * math.sqrt(2)))
    assert verdict.sentence == (
        "Reproduced: the test error of 'attention-164, residual' is 0.5 times that of 'attention-164, naive' "
        "(95 % one-sided bounds 0.482 to 0.519, n = 5 and 5, Welch t-test of the log ratio, Holm-adjusted p < 0.0001); "
        "an upper bound of 0.8 or more would undo it."
    )


@pytest.mark.parametrize(
    ("bound", "factor", "outcome"),
    [
        ("at_most: 0.8", 1.0, Outcome.NOT_REPRODUCED),
        ("at_most: 0.8", 0.8, Outcome.INCONCLUSIVE),
        ("at_least: 0.8", 1.0, Outcome.REPRODUCED),
        ("at_least: 0.8", 0.6, Outcome.NOT_REPRODUCED),
        ("at_least: 0.8", 0.8, Outcome.INCONCLUSIVE),
    ],
)
def test_a_ratio_is_held_against_its_bound(suite_of, bound, factor, outcome):
    suite = suite_of(RATIO.replace("at_most: 0.8", bound))
    naive = (9.6, 9.8, 10.0, 10.2, 10.4)

    [verdict] = judge(suite, done(suite, RESIDUAL_164, [factor * v for v in naive]) + done(suite, NAIVE_164, naive))

    assert (verdict.outcome, verdict.effect) == (outcome, pytest.approx(factor))
    assert verdict.low < factor < verdict.high


def test_there_is_no_ratio_to_nothing(suite_of):
    suite = suite_of(RATIO)

    [verdict] = judge(suite, done(suite, RESIDUAL_164, LOW) + done(suite, NAIVE_164, [0.0] * 5))

    assert (verdict.outcome, verdict.reason) == (
        Outcome.INCONCLUSIVE,
        "test error is not above zero, so there is no ratio",
    )


def test_a_ratio_over_a_matrix_has_the_effect_that_speaks_least_for_it(suite_of):
    claim = "\n  - {id: half, kind: ratio, over: [model], a: {learning: residual}, b: {learning: naive}, at_most: 0.9,"
    suite = suite_of(claim + " metric: error_pct}\n")

    [verdict] = judge(suite, all_four(suite, 2.0, 4.0))

    assert (verdict.outcome, verdict.effect) == (Outcome.REPRODUCED, pytest.approx(0.5))
    assert [member.effect for member in verdict.members] == [pytest.approx(1 / 2), pytest.approx(1 / 3)]
    assert verdict.low < 0.5 < verdict.high < 0.9


# --- all of them


def outcome_by_bounds(verdict):
    """The rules, from nothing but the printed numbers."""
    claim = verdict.claim
    low, high = verdict.low, verdict.high
    if claim.kind == "ratio":
        above, below = low > claim.bound, high < claim.bound
        inside, outside = (below, above) if claim.side == "at most" else (above, below)
    else:
        inside, outside = low > claim.min_effect, high < claim.min_effect
    return {(True, False): Outcome.REPRODUCED, (False, True): Outcome.NOT_REPRODUCED}.get(
        (inside, outside), Outcome.INCONCLUSIVE
    )


def test_bounds_agree_with_the_outcome_on_random_runs(suite_of):
    everywhere = OVER.replace("learning: residual", "learning: naive").replace(
        "b: {learning: naive}", "b: {learning: residual}"
    )
    suite = suite_of(TREND, GAP, RATIO, OVER, everywhere.replace("everywhere", "nowhere"), head=DEPTHS)
    rng = random.Random(1)
    seen = set()
    for _ in range(12):
        records = []
        for cell in suite.cells:
            centre = rng.uniform(4.0, 9.0)
            records += done(suite, dict(cell.axes), [rng.gauss(centre, 0.8) for _ in range(5)])

        verdicts = judge(suite, records)

        assert [verdict.outcome for verdict in verdicts] == [outcome_by_bounds(verdict) for verdict in verdicts]
        assert all(verdict.low <= verdict.effect <= verdict.high for verdict in verdicts)
        seen |= {(verdict.claim.kind, verdict.outcome) for verdict in verdicts}
    assert len(seen) >= 7


def test_failed_runs_of_every_comparison_are_counted(suite_of):
    suite = suite_of(OVER)
    failed = [record(suite, NAIVE_56, 4, attempt(State.FAILED)), record(suite, NAIVE_164, 4, attempt(State.FAILED))]
    kept = [
        run for run in all_four(suite, 2.0, 4.0) if (run.seed, run.cell_id) not in {(f.seed, f.cell_id) for f in failed}
    ]

    [verdict] = judge(suite, kept + failed)

    assert (verdict.failed, [member.failed for member in verdict.members]) == (2, [1, 1])
    assert "n = 5 of 5 and 4 of 5, 1 failed" in verdict.sentence

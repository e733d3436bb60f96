"""What stands beside a verdict and decides nothing, and what more seeds would give."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ranbench.claims import Imputed, Outcome, Sensitivity, compared, judge, plan_seeds
from ranbench.records import State
from ranbench.statistics import (
    LEVEL,
    POWER,
    permutation,
    power_beyond,
    power_within,
    prediction,
    seeds_needed,
    summarise,
)

from .conftest import (
    BETTER,
    HEAD,
    HIGH,
    LOW,
    NAIVE_56,
    NAIVE_164,
    RESIDUAL_56,
    RESIDUAL_164,
    VALUE,
    attempt,
    done,
    record,
)
from .test_kinds import DEPTHS, OVER, RATIO, TREND, moved

PAPER = """
published:
  - {cell: {model: attention-164, learning: residual}, metric: error_pct, value: 4.0, unit: percent, where: table 1}
  - {cell: {model: attention-164, learning: naive}, metric: error_pct, value: 5.2, unit: percent, where: table 1}
claims:
"""


# --- permutation


def test_a_permutation_p_counts_the_ways_that_are_as_extreme(suite_of):
    suite = suite_of(BETTER)
    records = done(suite, RESIDUAL_164, LOW) + done(suite, NAIVE_164, moved(LOW, 1.5))

    [verdict] = judge(suite, records)

    pool = [*LOW, *(value + 1.5 - 0.5 for value in LOW)]  # less the smallest effect that counts
    ways = list(itertools.combinations(range(10), 5))
    differences = [2 * sum(pool[i] for i in way) - sum(pool) for way in ways]
    extreme = sum(value >= sum(pool[5:]) - sum(pool[:5]) - 1e-9 for value in differences)
    found = verdict.beside.permutation
    assert (found.p, found.smallest) == (pytest.approx(extreme / len(ways)), 1 / 252)
    assert f"a permutation test gives p = {extreme / 252:.2g} (unadjusted; at best 0.004)" in verdict.beside.lines


def test_ways_that_tie_are_counted_whatever_the_rounding():
    rng = np.random.default_rng(11)
    ways = [list(way) for way in itertools.combinations(range(10), 5)]
    for shift in (0, 10, 50):
        for _ in range(40):
            a, b = (np.rint(100 * rng.normal(5.5 + by, 0.25, 5)).astype(int) for by in (shift / 100, 0.0))
            pool = np.concatenate([a - shift, b])
            exact = np.mean([pool[way].sum() >= pool[:5].sum() for way in ways])

            found = permutation([value / 100 - shift / 100 for value in a], [value / 100 for value in b])

            assert found.p == pytest.approx(exact, abs=1e-9)


def test_a_permutation_p_that_could_not_be_small_is_not_printed(suite_of):
    suite = suite_of(BETTER)
    records = done(suite, RESIDUAL_164, LOW[:3]) + done(suite, NAIVE_164, HIGH[:3])

    [verdict] = judge(suite, records)  # 1 of 20 ways is 0.05, which is not under the level

    assert (verdict.outcome, verdict.beside.permutation) == (Outcome.REPRODUCED, None)


def test_a_permutation_p_is_of_the_direction_that_was_decided(suite_of):
    suite = suite_of(BETTER, RATIO)
    records = done(suite, RESIDUAL_164, HIGH) + done(suite, NAIVE_164, LOW)

    verdicts = judge(suite, records)

    assert {verdict.outcome for verdict in verdicts} == {Outcome.NOT_REPRODUCED}
    assert [verdict.beside.permutation.p for verdict in verdicts] == [pytest.approx(1 / 252)] * 2


# --- one new run, and the test set


def test_the_interval_of_one_new_run_is_wider_than_that_of_the_mean(suite_of):
    suite = suite_of(VALUE)

    [verdict] = judge(suite, done(suite, NAIVE_56, HIGH))

    new = verdict.beside.new_run
    assert (new.low, new.high) == prediction(HIGH).interval(LEVEL)
    assert new.high - new.low == pytest.approx(6**0.5 * 2 * summarise(HIGH).half_interval)
    assert (new.published, new.holds_published) == (6.0, True)
    assert (
        "one new run would lie in 3.596 to 8.404 percent (95 % prediction interval), which holds the published 6"
        in verdict.beside.lines
    )


@pytest.mark.parametrize(("values", "low", "high"), [((0.1, 0.2, 4.0), 0.0, None), ((99.9, 99.8, 95.0), None, 100.0)])
def test_a_new_run_lies_where_its_metric_can_be(suite_of, values, low, high):
    suite = suite_of(VALUE)

    [verdict] = judge(suite, done(suite, NAIVE_56, values))

    new, (whole_low, whole_high) = verdict.beside.new_run, prediction(values).interval(LEVEL)
    assert whole_low < 0.0 or whole_high > 100.0
    assert new.low == (whole_low if low is None else low)
    assert new.high == (whole_high if high is None else high)


def test_the_size_of_the_test_set_is_told_apart_from_the_spread_of_seeds(suite_of):
    suite = suite_of(VALUE)
    few, many = done(suite, NAIVE_56, (6.0, 6.1, 6.2)), done(suite, NAIVE_56, (6.0, 6.1, 6.2, 6.1, 6.1))

    [first], [second] = judge(suite, few), judge(suite, many)

    [sampled] = first.beside.sampling
    assert (sampled.images, sampled.label) == (360, "'attention-56, naive'")
    assert sampled.low < 6.1 < sampled.high
    [more] = second.beside.sampling  # seeds do not narrow it
    assert (more.low, more.high) == (pytest.approx(sampled.low), pytest.approx(sampled.high))
    assert (
        "the 360 test images alone, whatever the seeds, leave 'attention-56, naive' at 4.06 to 9.07 percent "
        "(95 % binomial interval)"
    ) in first.beside.lines


def test_only_errors_have_a_test_set(suite_of):
    suite = suite_of(BETTER.replace("error_pct", "images_per_s"))
    records = [
        record(suite, axes, seed, attempt(images_per_s=value))
        for axes, values in ((RESIDUAL_164, LOW), (NAIVE_164, HIGH))
        for seed, value in enumerate(values)
    ]

    [verdict] = judge(suite, records)

    assert verdict.beside.sampling == ()


# --- two nets on the same images


def predictions_of(suite, records, classes):
    """Predictions by attempt: of the compared nets, in the order of the arms."""
    return dict(zip(compared(suite, records), (bytes(of.tolist()) for of in classes), strict=True))


def test_two_trained_nets_are_compared_by_their_predictions(suite_of):
    suite = suite_of(BETTER)
    labels = np.arange(100) % 10
    a, b = labels.copy(), labels.copy()
    a[:2] = 11  # 2 errors
    b[10:22] = 11  # 12 errors elsewhere
    b[0] = 11  # and one that both make
    records = done(suite, RESIDUAL_164, (2.0, 3.0, 2.5)) + done(suite, NAIVE_164, (13.0, 12.0, 12.5))

    [verdict] = judge(suite, records, predictions=predictions_of(suite, records, (a, b)))

    nets = verdict.beside.nets
    assert (nets.seed, nets.found.images, nets.found.differ, nets.found.more_right) == (0, 100, 13, 11)
    assert nets.found.p_at_most == pytest.approx(2 * 14 / 2**13)  # 12 against 1: 1 + 13 ways of 2^13
    assert verdict.beside.lines[-1] == (
        "the two nets of seed 0 differ on 13 of 100 test images, and 'attention-164, residual' is right on 11 more: "
        "McNemar's p is at most 0.0034, for these two nets alone"
    )


def test_the_nets_of_the_lowest_seed_of_both_arms_are_compared(suite_of):
    suite = suite_of(BETTER, VALUE)
    late = [record(suite, NAIVE_164, seed, attempt(error_pct=6.0)) for seed in (3, 2, 4)]
    records = done(suite, RESIDUAL_164, LOW) + late

    ids = compared(suite, records)

    by_id = {run.counted.id: run for run in records}
    assert [by_id[one].seed for one in ids] == [2, 2]
    assert len({by_id[one].cell_id for one in ids}) == 2


def test_without_predictions_no_nets_are_compared(suite_of):
    suite = suite_of(BETTER)
    records = done(suite, RESIDUAL_164, LOW) + done(suite, NAIVE_164, HIGH)
    one = compared(suite, records)[0]

    assert judge(suite, records)[0].beside.nets is None
    assert judge(suite, records, predictions={one: b"\1\2"})[0].beside.nets is None


def test_predictions_that_cannot_have_these_errors_are_not_compared(suite_of):
    suite = suite_of(BETTER)
    records = done(suite, RESIDUAL_164, (50.0, 3.0, 2.5)) + done(suite, NAIVE_164, (0.0, 12.0, 12.5))

    [verdict] = judge(
        suite, records, predictions=predictions_of(suite, records, (np.zeros(10, int), np.zeros(10, int)))
    )

    assert verdict.beside.nets is None


# --- failed runs


def test_failed_runs_are_counted_as_guessing_in_a_line_of_their_own(suite_of):
    suite = suite_of(BETTER)
    failed = record(suite, NAIVE_164, 4, attempt(State.FAILED))
    fine = done(suite, RESIDUAL_164, LOW) + done(suite, NAIVE_164, HIGH[:4])

    [without], [verdict] = judge(suite, fine), judge(suite, [*fine, failed])

    assert without.sensitivity is None
    assert verdict.outcome is Outcome.REPRODUCED
    assert verdict.sensitivity == Sensitivity(1, 90.0, (Imputed("", pytest.approx(20.6), "for", "for"),))
    assert verdict.lines[-1] == (
        "with the failed run counted as guessing (90 percent), the advantage of 'attention-164, residual' over "
        "'attention-164, naive' in test error is +20.6 percentage points, which still speaks for the claim"
    )


@pytest.mark.parametrize("gap", [1.0, 4.0, 60.0])
def test_a_failed_run_of_the_arm_said_to_be_worse_never_speaks_against_the_claim(suite_of, gap):
    suite = suite_of(BETTER)
    records = done(suite, RESIDUAL_164, LOW) + done(suite, NAIVE_164, moved(LOW[:4], gap))

    [verdict] = judge(suite, [*records, record(suite, NAIVE_164, 4, attempt(State.FAILED))])

    [one] = verdict.sensitivity.effects
    assert (one.speaks, one.effect > gap) == ("for", True)


def test_a_failed_run_of_the_arm_said_to_be_better_may_turn_the_effect(suite_of):
    suite = suite_of(BETTER)
    records = done(suite, RESIDUAL_164, LOW[:4]) + done(suite, NAIVE_164, HIGH)

    [verdict] = judge(suite, [*records, record(suite, RESIDUAL_164, 4, attempt(State.FAILED))])

    [one] = verdict.sensitivity.effects
    assert (verdict.outcome, one.speaks, one.spoke) == (Outcome.REPRODUCED, "against", "for")
    assert verdict.lines[-1].endswith("is -13.4 percentage points, which then speaks against the claim")


def test_only_comparisons_with_failed_runs_are_told_again_whatever_else_is_missing(suite_of):
    suite = suite_of(OVER)
    fail = [record(suite, axes, 4, attempt(State.FAILED)) for axes in (RESIDUAL_56, NAIVE_56)]
    records = done(suite, RESIDUAL_56, LOW[:4]) + done(suite, NAIVE_56, HIGH[:4])

    [verdict] = judge(suite, records + fail)

    assert [(one.at, one.speaks) for one in verdict.sensitivity.effects] == [("attention-56", "for")]
    assert verdict.lines[-1] == (
        "with the 2 failed runs counted as guessing (90 percent), the effect is +3.2 percentage points at "
        "attention-56, which still speaks for the claim"
    )


def test_where_every_run_of_an_arm_failed_the_guesses_speak_alone(suite_of):
    suite = suite_of(BETTER)
    failed = [record(suite, NAIVE_164, seed, attempt(State.FAILED)) for seed in range(5)]

    [verdict], [nothing] = judge(suite, done(suite, RESIDUAL_164, LOW) + failed), judge(suite, failed)

    assert verdict.sensitivity.effects == (Imputed("", pytest.approx(88.0), "for", None),)
    assert verdict.lines[-1].endswith("is +88 percentage points, which speaks for the claim")
    assert nothing.sensitivity is None


def test_failed_runs_of_another_metric_count_as_the_worst_of_all(suite_of):
    suite = suite_of(BETTER.replace("error_pct", "images_per_s"))
    records = [
        record(suite, axes, seed, attempt(images_per_s=value))
        for axes, values in ((RESIDUAL_164, moved(LOW, 10)), (NAIVE_164, LOW[:4]))
        for seed, value in enumerate(values)
    ]

    [verdict] = judge(suite, [*records, record(suite, NAIVE_164, 4, attempt(State.FAILED))])

    assert (verdict.sensitivity.worst, verdict.sensitivity.effects[0].speaks) == (1.0, "for")


# --- seeds added after looking


def test_seeds_beyond_the_plan_are_marked_as_adaptive(suite_of):
    planned, more = suite_of(VALUE), suite_of(VALUE, seeds=7)
    records = done(more, NAIVE_56, (5.9, 6.0, 6.1, 6.2, 6.3, 6.1, 6.0))

    [first], [second] = judge(planned, records), judge(more, records)

    assert (first.adaptive, first.n) == ((), (5,))
    assert (second.adaptive, second.n) == ((5, 6), (7,))
    assert second.sentence.startswith("Reproduced with 2 adaptive seeds (added after looking): the mean test error")


# --- what more seeds would give


def test_the_seeds_that_would_decide_are_those_for_the_papers_effect(suite_of):
    suite = suite_of(BETTER, head=HEAD.replace("published:\n", PAPER.removesuffix("claims:\n").lstrip()))
    records = done(suite, RESIDUAL_164, moved(LOW, 3)) + done(suite, NAIVE_164, moved(LOW, 3.6))

    [verdict] = judge(suite, records)

    sd = summarise(LOW).sd
    more = next(k for k in range(1, 99) if power_beyond(0.7, (sd, sd), (5 + k, 5 + k), LEVEL) >= POWER)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert (verdict.need.more, verdict.need.effect, verdict.need.basis) == (more, pytest.approx(1.2), "paper")
    assert verdict.sentence.endswith(
        f"; {more} more seeds per arm give 80 % power for 'reproduced' if the true effect is +1.2 percentage points, "
        "the paper's, and the spread is as seen."
    )


def test_an_effect_that_is_seen_too_small_asks_for_seeds_to_refute(suite_of):
    suite = suite_of(BETTER)
    records = done(suite, RESIDUAL_164, LOW) + done(suite, NAIVE_164, LOW)

    [verdict] = judge(suite, records)

    sd = summarise(LOW).sd
    assert (verdict.need.basis, verdict.need.effect) == ("seen", pytest.approx(0.0))
    assert verdict.need.outcome is Outcome.NOT_REPRODUCED
    assert (
        "80 % power for 'not reproduced' if the true effect is +0 percentage points, as seen here" in verdict.sentence
    )
    assert power_beyond(0.5, (sd, sd), (5 + verdict.need.more,) * 2, LEVEL) >= POWER
    assert power_beyond(0.5, (sd, sd), (4 + verdict.need.more,) * 2, LEVEL) < POWER


# --- planning


def planned(suite, records=(), sd=None, effect=None):
    return plan_seeds(suite, records, sd=sd, effect=effect)


def test_a_plan_takes_the_papers_effect_and_a_stated_spread(suite_of):
    suite = suite_of(BETTER, VALUE, head=HEAD.replace("published:\n", PAPER.removesuffix("claims:\n").lstrip()))

    better, value = planned(suite, sd=0.8)

    half = LEVEL / 2  # two claims: Holm's first step
    expected = seeds_needed(lambda n: power_beyond(0.7, (0.8, 0.8), (n, n), half))
    assert (better.seeds, better.level, better.effects, better.basis) == (
        expected,
        half,
        (pytest.approx(1.2),),
        "paper",
    )
    assert (better.sds, better.spread, better.planned) == ((0.8, 0.8), "stated", 5)
    assert better.power_as_planned == pytest.approx(power_beyond(0.7, (0.8, 0.8), (5, 5), half))
    assert value.seeds == seeds_needed(lambda n: power_within(0.0, 1.0, 0.8, n, half))


def test_a_plan_takes_spread_and_effect_from_runs_where_nothing_is_stated(suite_of):
    suite = suite_of(BETTER)
    records = done(suite, RESIDUAL_164, LOW) + done(suite, NAIVE_164, HIGH[:2])

    [plan] = planned(suite, records)

    assert (plan.spread, plan.basis, plan.effects) == ("measured", "seen", (pytest.approx(3.25),))
    assert plan.sds == (pytest.approx(summarise(LOW).sd), pytest.approx(summarise(HIGH[:2]).sd))


def test_a_plan_from_scaled_runs_that_decide_nothing_says_so(suite_of):
    allowed = BETTER + "    allow_scaled: true\n"
    suites = [suite_of(claim, protocol=protocol) for claim, protocol in ((BETTER, "short"), (allowed, "short"))]
    plans = []
    for suite in suites:
        records = done(suite, RESIDUAL_164, LOW) + done(suite, NAIVE_164, HIGH)

        plans += planned(suite, records)

    assert [(plan.spread, plan.basis, plan.scaled) for plan in plans] == [
        ("measured", "seen", True),
        ("measured", "seen", False),
    ]


def test_a_plan_says_what_it_lacks(suite_of):
    suite = suite_of(BETTER)

    [nothing], [no_effect] = planned(suite), planned(suite, sd=0.5)

    assert nothing.reason == "no spread is measured yet; --sd states one"
    assert (
        no_effect.reason
        == "the paper prints no numbers to take its effect from, and no run is done; --effect states one"
    )


def test_a_plan_names_the_arm_that_it_lacks(suite_of):
    suite = suite_of(BETTER)
    one, alike, whole = (done(suite, RESIDUAL_164, values) for values in ((1.0,), (1.0, 1.0), LOW))

    reasons = [planned(suite, records)[0].reason for records in (one, alike, whole)]

    without = "no spread is measured yet ('attention-164, residual' has {}; --sd states one".format
    assert reasons == [
        without("1 finished run and 'attention-164, naive' has no finished runs)"),
        without("2 finished runs, all alike and 'attention-164, naive' has no finished runs)"),
        "the paper prints no numbers to take its effect from, and no run of 'attention-164, naive' is done; "
        "--effect states one",
    ]


def test_a_plan_that_lacks_one_thing_says_the_other(suite_of):
    [without_effect] = planned(suite_of(BETTER), sd=0.5)
    [without_spread] = planned(suite_of(BETTER), effect=1.5)

    assert (without_effect.sds, without_effect.spread, without_effect.seeds) == ((0.5, 0.5), "stated", None)
    assert (without_spread.effects, without_spread.basis, without_spread.sds) == ((1.5,), "stated", ())


def test_a_stated_effect_is_planned_for_in_place_of_the_papers(suite_of):
    suite = suite_of(BETTER, VALUE, head=HEAD.replace("published:\n", PAPER.removesuffix("claims:\n").lstrip()))

    better, value = planned(suite, sd=0.8, effect=2.0)

    half = LEVEL / 2
    assert (better.effects, better.basis) == ((2.0,), "stated")
    assert better.seeds == seeds_needed(lambda n: power_beyond(1.5, (0.8, 0.8), (n, n), half))  # min_effect is 0.5
    assert (value.effects, value.basis) == ((0.0,), "paper")  # no deviation, whatever is stated


def test_a_stated_effect_holds_for_trends_and_over_a_matrix_and_not_for_ratios(suite_of):
    [over] = planned(suite_of(OVER), sd=0.8, effect=1.0)
    trend, ratio = planned(suite_of(TREND, RATIO, head=DEPTHS), sd=0.8, effect=1.0)

    assert (over.effects, trend.effects, trend.basis) == ((1.0, 1.0), (1.0,), "stated")
    assert trend.seeds is not None
    assert ratio.reason == "the paper prints no numbers to take its effect from, and no run is done"


@pytest.mark.parametrize("effect", [0.0, -1.0, float("nan"), float("inf")])
def test_an_effect_that_is_none_is_refused(suite_of, effect):
    with pytest.raises(ValueError, match="an effect above zero"):
        planned(suite_of(BETTER), sd=1.0, effect=effect)


def test_smoke_runs_give_no_spread(suite_of):
    suite = suite_of(BETTER, protocol="smoke")
    records = done(suite, RESIDUAL_164, LOW) + done(suite, NAIVE_164, HIGH)

    [plan] = planned(suite, records)

    assert plan.reason == "no spread is measured yet; --sd states one"


def test_every_comparison_of_a_claim_over_a_matrix_takes_its_part_of_the_power(suite_of):
    suite = suite_of(OVER)
    records = [
        *done(suite, RESIDUAL_56, LOW),
        *done(suite, NAIVE_56, moved(LOW, 1)),
        *done(suite, RESIDUAL_164, LOW),
        *done(suite, NAIVE_164, moved(LOW, 1)),
    ]

    [plan] = planned(suite, records)

    sd = summarise(LOW).sd
    one = seeds_needed(lambda n: power_beyond(1.0, (sd, sd), (n, n), LEVEL), 0.9)
    assert (plan.seeds, plan.effects) == (one, (pytest.approx(1.0),) * 2)


def test_trends_and_ratios_are_planned(suite_of):
    suite = suite_of(TREND, RATIO, head=DEPTHS)
    records = [run for cell in suite.cells for run in done(suite, dict(cell.axes), LOW)]
    flat, ratio = planned(suite, records)

    assert flat.reason == "its effect lies on the threshold, where no number of seeds decides"
    assert (ratio.effects, ratio.seeds is not None) == ((pytest.approx(1.0),), True)


@pytest.mark.parametrize("sd", [0.0, -1.0, float("nan"), float("inf")])
def test_a_spread_that_is_none_is_refused(suite_of, sd):
    with pytest.raises(ValueError, match="above zero"):
        planned(suite_of(BETTER), sd=sd)

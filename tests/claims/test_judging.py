"""Verdicts: what is decided, what is refused, and what the reader is told."""

from __future__ import annotations

import dataclasses
import math
import random

import pytest

from ranbench.claims import Outcome, judge
from ranbench.claims.wording import p_words
from ranbench.counts import Counts
from ranbench.records import State
from ranbench.spec import complexity_key
from ranbench.statistics import one_sample, welch
from ranbench.suite import load_suite

from .conftest import (
    BETTER,
    DEPTH,
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


def test_a_clear_advantage_is_reproduced(suite_of):
    suite = suite_of(BETTER)
    records = done(suite, RESIDUAL_164, LOW) + done(suite, NAIVE_164, HIGH)

    [verdict] = judge(suite, records)

    t_8 = 1.8595480375308981  # one-sided 5 %, 8 degrees of freedom
    assert dataclasses.asdict(verdict) == dataclasses.asdict(verdict) | {
        "outcome": Outcome.REPRODUCED,
        "effect": pytest.approx(4.0),
        "low": pytest.approx(4 - 0.5 * t_8),
        "high": pytest.approx(4 + 0.5 * t_8),
        "n": (5, 5),
        "planned": (5, 5),
        "failed": 0,
        "level": 0.05,
        "p": pytest.approx(welch(HIGH, LOW).p_above(0.5)),
        "test": "Welch t-test",
        "fidelity": "full",
        "unit": "percentage points",
        "reason": None,
    }
    assert verdict.claim is suite.claims[0]
    assert verdict.sentence == (
        "Reproduced: the advantage of 'attention-164, residual' over 'attention-164, naive' in test error is "
        "+4 percentage points (95 % one-sided bounds +3.07 to +4.93, n = 5 and 5, Welch t-test, "
        "Holm-adjusted p < 0.0001); a lower bound of 0.5 or less would undo it."
    )


def test_a_clear_disadvantage_is_not_reproduced(suite_of):
    suite = suite_of(BETTER)
    records = done(suite, RESIDUAL_164, HIGH) + done(suite, NAIVE_164, LOW)

    [verdict] = judge(suite, records)

    assert verdict.outcome is Outcome.NOT_REPRODUCED
    assert verdict.p == pytest.approx(welch(LOW, HIGH).p_below(0.5))
    assert verdict.sentence == (
        "Not reproduced: the advantage of 'attention-164, residual' over 'attention-164, naive' in test error is "
        "-4 percentage points (95 % one-sided bounds -4.93 to -3.07, n = 5 and 5, Welch t-test, "
        "Holm-adjusted p < 0.0001); an upper bound of 0.5 or more would undo it."
    )


def test_an_advantage_whose_bounds_enclose_the_smallest_that_counts_is_inconclusive(suite_of):
    suite = suite_of(BETTER)
    records = done(suite, RESIDUAL_164, LOW) + done(suite, NAIVE_164, [value + 1.0 for value in LOW])

    [verdict] = judge(suite, records)

    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.p == pytest.approx(0.173297, abs=1e-6)  # t = (1 - 0.5) / 0.5 = 1, 8 degrees of freedom
    assert verdict.sentence == (
        "Inconclusive: the advantage of 'attention-164, residual' over 'attention-164, naive' in test error is "
        "+1 percentage points (95 % one-sided bounds +0.0702 to +1.93, n = 5 and 5, Welch t-test, "
        "Holm-adjusted p of 'reproduced' = 0.17); 0.5 is not outside the bounds; 27 more seeds per arm give 80 % power "
        "for 'reproduced' if the true effect is "
        "+1 percentage points, as seen here, and the spread is as seen."
    )


def test_more_is_better_where_the_metric_says_so(suite_of):
    suite = suite_of(BETTER.replace("error_pct", "images_per_s").replace("0.5", "100"))
    fast, slow = (1500.0, 1510.0, 1520.0), (1000.0, 1010.0, 1020.0)
    records = [
        record(suite, axes, seed, attempt(images_per_s=value))
        for axes, values in ((RESIDUAL_164, fast), (NAIVE_164, slow))
        for seed, value in enumerate(values)
    ]

    [verdict] = judge(suite, records)

    assert (verdict.outcome, verdict.effect, verdict.unit) == (Outcome.REPRODUCED, 500.0, "images/s")


@pytest.mark.parametrize(
    ("values", "outcome", "sentence"),
    [
        (
            (5.9, 6.0, 6.1, 6.2, 6.3),
            Outcome.REPRODUCED,
            "Reproduced: the mean test error of 'attention-56, naive' is +0.1 percentage points from the published 6 "
            "(95 % interval -0.0963 to +0.296, n = 5, one-sample t-test, Holm-adjusted p = 0.00022); "
            "an interval that reaches past the margin of 1 would undo it.",
        ),
        (
            (3.9, 4.0, 4.1, 4.2, 4.3),
            Outcome.NOT_REPRODUCED,
            "Not reproduced: the mean test error of 'attention-56, naive' is -1.9 percentage points from the published "
            "6 (95 % interval -2.1 to -1.7, n = 5, one-sample t-test, Holm-adjusted p = 0.00022); "
            "an interval that reaches into the margin of 1 would undo it.",
        ),
        (
            (5.0, 6.0, 7.0, 8.0, 9.0),
            Outcome.INCONCLUSIVE,
            "Inconclusive: the mean test error of 'attention-56, naive' is +1 percentage points from the published 6 "
            "(95 % interval -0.963 to +2.96, n = 5, one-sample t-test, Holm-adjusted p of 'reproduced' = 1); "
            "the interval lies neither inside nor outside the margin of 1, and no number of seeds would decide this "
            "effect.",
        ),
        (
            (4.5, 5.5, 6.5, 7.5, 8.5),
            Outcome.INCONCLUSIVE,
            "Inconclusive: the mean test error of 'attention-56, naive' is +0.5 percentage points from the published 6 "
            "(95 % interval -1.46 to +2.46, n = 5, one-sample t-test, Holm-adjusted p of 'reproduced' = 0.52); "
            "the interval lies neither inside nor outside the margin of 1; 76 more seeds give 80 % power "
            "for 'reproduced' if the true effect is "
            "+0.5 percentage points, as seen here, and the spread is as seen.",
        ),
    ],
)  # fmt: skip
def test_a_value_is_judged_by_its_interval_against_the_margin(suite_of, values, outcome, sentence):
    suite = suite_of(VALUE)

    [verdict] = judge(suite, done(suite, NAIVE_56, values))

    low, high = one_sample(values, 6.0).interval(0.05)
    assert (verdict.outcome, verdict.sentence) == (outcome, sentence)
    assert (verdict.low, verdict.high, verdict.level) == (low, high, 0.05)
    assert (verdict.n, verdict.planned, verdict.test) == ((5,), (5,), "one-sample t-test")


def test_holm_runs_over_two_claims_as_worked_by_hand(suite_of):
    suite = suite_of(BETTER, DEPTH)
    records = (
        done(suite, RESIDUAL_164, LOW) + done(suite, NAIVE_164, HIGH) + done(suite, NAIVE_56, [v - 1 for v in HIGH])
    )

    first, second = judge(suite, records)

    # p of 'reproduced': far below 0.025, then t = 1 / 0.5 = 2 with 8 degrees of freedom, 0.0403 against 0.05 / 1
    assert (first.outcome, first.level) == (Outcome.REPRODUCED, 0.025)
    assert first.p == pytest.approx(2 * welch(HIGH, LOW).p_above(0.5))
    assert (second.outcome, second.level) == (Outcome.REPRODUCED, 0.05)
    assert second.p == pytest.approx(0.040258, abs=1e-6)
    assert second.low == pytest.approx(1 - 0.5 * 1.8595480375308981)


def test_a_claim_without_runs_still_counts_in_holm(suite_of):
    suite = suite_of(BETTER, DEPTH)
    records = done(suite, NAIVE_164, HIGH) + done(suite, NAIVE_56, [v - 1 for v in HIGH])

    first, second = judge(suite, records)

    # alone, p = 0.0403 would do; of two declared claims it does not
    assert (first.outcome, first.p) == (Outcome.NOT_RUN, None)
    assert (second.outcome, second.level) == (Outcome.INCONCLUSIVE, 0.025)
    assert second.p == pytest.approx(2 * 0.040258, abs=1e-6)
    assert second.low < 0.0 < second.high


def outcome_by_bounds(verdict):
    """The rule of DESIGN.md, from nothing but the printed numbers."""
    claim = verdict.claim
    if claim.kind == "better":
        inside, outside = verdict.low > claim.min_effect, verdict.high < claim.min_effect
    else:
        inside = verdict.low > -claim.margin and verdict.high < claim.margin
        outside = verdict.low > claim.margin or verdict.high < -claim.margin
    return {(True, False): Outcome.REPRODUCED, (False, True): Outcome.NOT_REPRODUCED}.get(
        (inside, outside), Outcome.INCONCLUSIVE
    )


def test_bounds_agree_with_the_outcome_on_random_runs(suite_of):
    suite = suite_of(BETTER, DEPTH, VALUE)
    rng = random.Random(0)
    seen = set()
    for _ in range(15):
        records = []
        for axes in (RESIDUAL_164, NAIVE_164, NAIVE_56):
            centre = rng.uniform(4.0, 8.0)
            records += done(suite, axes, [rng.gauss(centre, 0.5) for _ in range(5)])

        verdicts = judge(suite, records)

        assert [verdict.outcome for verdict in verdicts] == [outcome_by_bounds(verdict) for verdict in verdicts]
        seen |= {(verdict.claim.kind, verdict.outcome) for verdict in verdicts}
    assert len(seen) == 6


def test_the_order_of_records_does_not_matter(suite_of):
    suite = suite_of(BETTER, DEPTH, VALUE)
    records = done(suite, RESIDUAL_164, LOW) + done(suite, NAIVE_164, HIGH) + done(suite, NAIVE_56, (5.1, 6.3, 6.2))
    expected = judge(suite, records)
    rng = random.Random(0)

    for _ in range(5):
        rng.shuffle(records)
        assert judge(suite, records) == expected


def test_only_the_suites_protocol_and_seeds_count(suite_of):
    suite, short = suite_of(BETTER), suite_of(BETTER, protocol="short")
    records = done(suite, RESIDUAL_164, LOW) + done(suite, NAIVE_164, HIGH)
    elsewhere = [*done(short, RESIDUAL_164, HIGH), record(suite, NAIVE_164, 7, attempt(error_pct=0.0))]
    unasked = done(suite, RESIDUAL_56, LOW)

    assert judge(suite, records + elsewhere + unasked) == judge(suite, records)


def test_the_latest_finished_attempt_counts(suite_of):
    suite = suite_of(VALUE)
    earlier, later, lost = attempt(error_pct=50.0), attempt(error_pct=6.1), attempt(State.FAILED)
    records = [
        record(suite, NAIVE_56, 0, earlier, later, lost),
        *(record(suite, NAIVE_56, seed, attempt(error_pct=6.0)) for seed in (1, 2)),
    ]

    [verdict] = judge(suite, records)

    assert (verdict.effect, verdict.n, verdict.failed) == (pytest.approx(0.1 / 3), (3,), 0)


def test_two_records_of_one_run_are_refused(suite_of):
    suite = suite_of(VALUE)

    with pytest.raises(ValueError, match="two records"):
        judge(suite, done(suite, NAIVE_56, (6.0,)) + done(suite, NAIVE_56, (6.1,)))


def test_a_suite_without_claims_has_no_verdicts(suite_of):
    assert judge(suite_of(" []"), []) == ()


def unjudged(verdict):
    """What a verdict says where no test was made; the rest must be empty."""
    assert (verdict.low, verdict.high, verdict.level, verdict.p) == (None, None, None, None)
    return verdict.outcome, verdict.reason, verdict.sentence


def test_smoke_runs_never_count(suite_of):
    suite = suite_of(BETTER + "    allow_scaled: true\n", protocol="smoke")
    records = done(suite, RESIDUAL_164, LOW) + done(suite, NAIVE_164, HIGH)

    [verdict] = judge(suite, records)

    assert (verdict.fidelity, verdict.n, verdict.effect) == ("smoke", (5, 5), None)
    assert unjudged(verdict) == (
        Outcome.NOT_RUN,
        "runs of smoke fidelity never count",
        "Not run: runs of smoke fidelity never count; runs of the protocol 'digits' would count.",
    )


def test_scaled_runs_are_not_comparable(suite_of):
    suite = suite_of(BETTER, protocol="short")
    records = done(suite, RESIDUAL_164, LOW) + done(suite, NAIVE_164, HIGH)

    [verdict] = judge(suite, records)

    assert (verdict.fidelity, verdict.effect) == ("scaled", None)
    assert unjudged(verdict) == (
        Outcome.NOT_COMPARABLE,
        "iterations 100 instead of 157",
        "Not comparable: iterations 100 instead of 157; runs of the protocol 'digits' would count.",
    )


def test_scaled_runs_count_where_the_claim_allows_it_and_the_sentence_says_so(suite_of):
    suite = suite_of(BETTER + "    allow_scaled: true\n", protocol="short")
    records = done(suite, RESIDUAL_164, LOW) + done(suite, NAIVE_164, HIGH)

    [verdict] = judge(suite, records)

    assert (verdict.outcome, verdict.fidelity, verdict.reason) == (Outcome.REPRODUCED, "scaled", None)
    assert verdict.sentence == (
        "Reproduced at scaled fidelity (iterations 100 instead of 157): the advantage of 'attention-164, residual' "
        "over 'attention-164, naive' in test error is +4 percentage points (95 % one-sided bounds +3.07 to +4.93, "
        "n = 5 and 5, Welch t-test, Holm-adjusted p < 0.0001); a lower bound of 0.5 or less would undo it."
    )


def test_without_a_finished_run_a_claim_is_not_run(suite_of):
    suite = suite_of(BETTER)
    unfinished = [
        record(suite, NAIVE_164, 0, attempt(State.FAILED)),
        record(suite, NAIVE_164, 1, attempt(State.INTERRUPTED)),
        record(suite, NAIVE_164, 2),
    ]

    [verdict] = judge(suite, done(suite, RESIDUAL_164, LOW) + unfinished)

    assert (verdict.n, verdict.failed, verdict.effect) == ((5, 0), 1, None)
    assert unjudged(verdict) == (
        Outcome.NOT_RUN,
        "no finished run of 'attention-164, naive' (1 failed)",
        "Not run to the end: no finished run of 'attention-164, naive' (1 failed); "
        "three finished seeds per arm would allow a test.",
    )


def test_without_any_run_every_claim_is_not_run(suite_of):
    suite = suite_of(BETTER, VALUE)

    verdicts = judge(suite, [])

    assert [unjudged(verdict)[:2] for verdict in verdicts] == [
        (Outcome.NOT_RUN, "no finished run of 'attention-164, residual' and 'attention-164, naive'"),
        (Outcome.NOT_RUN, "no finished run of 'attention-56, naive'"),
    ]


def test_fewer_than_three_seeds_in_an_arm_are_inconclusive(suite_of):
    suite = suite_of(BETTER)
    records = done(suite, RESIDUAL_164, [1.0]) + done(suite, NAIVE_164, HIGH)

    [verdict] = judge(suite, records)

    assert verdict.effect == 5.0
    assert unjudged(verdict) == (
        Outcome.INCONCLUSIVE,
        "it needs three seeds per arm, has 1 and 5",
        "Inconclusive: the advantage of 'attention-164, residual' over 'attention-164, naive' in test error is "
        "+5 percentage points (n = 1 of 5 and 5 of 5), without a Welch t-test: it needs three seeds per arm, "
        "has 1 and 5; more seeds would allow one.",
    )


def test_fewer_than_three_seeds_of_a_value_are_inconclusive(suite_of):
    suite = suite_of(VALUE)

    [verdict] = judge(suite, done(suite, NAIVE_56, [6.5, 7.5]))

    assert verdict.effect == 1.0
    assert unjudged(verdict) == (
        Outcome.INCONCLUSIVE,
        "it needs three seeds, has 2",
        "Inconclusive: the mean test error of 'attention-56, naive' is +1 percentage points from the published 6 "
        "(n = 2 of 5), without a one-sample t-test: it needs three seeds, has 2; more seeds would allow one.",
    )


def test_arms_without_any_spread_are_inconclusive(suite_of):
    suite = suite_of(BETTER, VALUE)
    records = [
        run
        for axes, value in ((RESIDUAL_164, 0.1), (NAIVE_164, 0.7), (NAIVE_56, 0.3))
        for run in done(suite, axes, [value] * 3)
    ]

    first, second = judge(suite, records)

    reason = "no spread between seeds, so no interval can be formed"
    assert (first.effect, second.effect) == (pytest.approx(0.6), pytest.approx(-5.7))
    assert unjudged(second)[:2] == (Outcome.INCONCLUSIVE, reason)
    assert unjudged(first) == (
        Outcome.INCONCLUSIVE,
        reason,
        "Inconclusive: the advantage of 'attention-164, residual' over 'attention-164, naive' in test error is "
        "+0.6 percentage points (n = 3 of 5 and 3 of 5), without a Welch t-test: no spread between seeds, "
        "so no interval can be formed; seeds with differing values would allow one.",
    )


def test_a_finished_run_without_a_finite_metric_counts_as_failed(suite_of):
    suite = suite_of(VALUE)
    broken = [record(suite, NAIVE_56, seed, attempt(error_pct=math.nan)) for seed in (3, 4)]

    [verdict] = judge(suite, done(suite, NAIVE_56, (6.0, 6.1, 6.2)) + broken)

    assert (verdict.n, verdict.planned, verdict.failed) == ((3,), (5,), 2)
    assert verdict.effect == pytest.approx(0.1)
    assert "n = 3 of 5, 2 failed, one-sample t-test" in verdict.sentence


def test_a_finished_run_that_lacks_the_measurement_has_not_failed(suite_of):
    suite = suite_of(VALUE)
    lacking = [record(suite, NAIVE_56, seed, attempt(loss=0.1)) for seed in (3, 4)]

    [verdict] = judge(suite, done(suite, NAIVE_56, (6.0, 6.1, 6.2)) + lacking)

    assert (verdict.n, verdict.failed, verdict.sensitivity) == ((3,), 0, None)
    assert "n = 3 of 5, 2 done without this metric, one-sample t-test" in verdict.sentence


@pytest.mark.parametrize(
    ("metric", "label", "remedy"),
    [
        ("response_stage1", "response of stage 1", "'ranbench run SUITE' measures done runs"),
        ("energy_joules", "energy", "three seeds per arm that have it would allow a test"),
    ],
)
def test_where_no_finished_run_was_measured_the_sentence_says_so(suite_of, metric, label, remedy):
    head = HEAD.replace("cells:", "probes: [responses]\ncells:")
    suite = suite_of(BETTER.replace("error_pct", metric), head=head)
    runs = done(suite, RESIDUAL_164, LOW[:2]) + done(suite, NAIVE_164, LOW[:1])

    [verdict] = judge(suite, [*runs, record(suite, NAIVE_164, 1, attempt(State.FAILED))])

    assert (verdict.outcome, verdict.n, verdict.failed) == (Outcome.NOT_RUN, (0, 0), 1)
    assert verdict.sentence == (
        "Not run: no run of 'attention-164, residual' and 'attention-164, naive' has a measured "
        f"{label} (3 done without it, 1 failed); {remedy}."
    )


@pytest.mark.parametrize(
    ("p", "words"),
    [(0.0498, "= 0.0498"), (0.0502, "= 0.0502"), (0.05, "= 0.05"), (0.049996, "= 0.049996"), (0.0403, "= 0.04")],
)
def test_a_p_is_written_so_that_it_stands_on_its_own_side_of_the_level(p, words):
    assert p_words(p) == words


# --- claims about counts: exact, without runs

COUNTED = """
name: sizes
title: Sizes
seeds: 0
cells:
  fixed: {dataset: cifar10}
  matrix: {model: [attention-56, attention-92]}
published:
  - {cell: {model: attention-56}, metric: parameters, value: 1.0e6, unit: parameters, where: table 2}
  - {cell: {model: attention-56}, metric: depth, value: 56, unit: layers, where: table 2}
  - {cell: {model: attention-92}, metric: macs, value: 2.0e+8, unit: multiply-adds, where: table 2}
claims:
  - {id: a, kind: complexity, cell: {model: attention-56}, metric: parameters, tolerance_pct: 3}
  - {id: b, kind: complexity, cell: {model: attention-56}, metric: depth, tolerance_pct: 0}
  - {id: c, kind: complexity, cell: {model: attention-92}, metric: macs, tolerance_pct: 3}
"""


def counted_suite(folder, text=COUNTED):
    file = folder / "sizes.yaml"
    file.write_text(text)
    return load_suite(file)


def counts_of(suite, **counts):
    """Counts for the suite's cells by model name, with underscores for hyphens."""
    return {
        complexity_key(cell.model, cell.data): Counts(*counts[cell.model.name.replace("-", "_")])
        for cell in suite.cells
        if cell.model.name.replace("-", "_") in counts
    }


def test_counts_are_judged_exactly_and_without_a_test(tmp_path):
    suite = counted_suite(tmp_path)
    measured = counts_of(suite, attention_56=(1_030_000, 5, 56), attention_92=(7, 206_000_001, 92))

    within, exact, outside = judge(suite, [], measured)

    assert [within.outcome, exact.outcome, outside.outcome] == ["reproduced", "reproduced", "not reproduced"]
    assert [within.effect, exact.effect] == [pytest.approx(3.0), 0.0]
    assert outside.effect == pytest.approx(3.0000005)
    assert {(v.n, v.planned, v.level, v.p, v.low, v.high, v.fidelity) for v in (within, exact, outside)} == {
        ((), (), None, None, None, None, "full")
    }
    assert within.sentence == (
        "Reproduced: 'attention-56' has 1.03 million parameters (1,030,000), +3 % from the published 1.0 million, "
        "within the tolerance of 3 % (exact count)."
    )
    assert exact.sentence == "Reproduced: 'attention-56' has exactly 56 layers, as published (exact count)."
    assert outside.sentence == (
        "Not reproduced: 'attention-92' has 206 million multiply-adds (206,000,001), +3 % from the published "
        "200 million, outside the tolerance of 3 % (exact count)."
    )


def test_a_depth_that_is_one_layer_off_is_not_reproduced(tmp_path):
    suite = counted_suite(tmp_path)

    _, depth, _ = judge(suite, [], counts_of(suite, attention_56=(1, 1, 57)))

    assert depth.outcome == "not reproduced"
    assert depth.sentence == (
        "Not reproduced: 'attention-56' has 57 layers, +1.79 % from the published 56, outside the tolerance of 0 % "
        "(exact count)."
    )


def test_a_net_that_was_not_measured_is_looked_up(tmp_path):
    suite = counted_suite(tmp_path)

    parameters, depth, macs = judge(suite, [])

    assert parameters.effect == pytest.approx(3.0394)
    assert (depth.effect, macs.effect) == (0.0, pytest.approx(5.956608))
    assert {verdict.test for verdict in (parameters, depth, macs)} == {"stored count"}
    assert depth.sentence == "Reproduced: 'attention-56' has exactly 56 layers, as published (stored count)."


def test_a_count_that_nobody_knows_is_not_run(tmp_path):
    suite = counted_suite(tmp_path, COUNTED.replace("attention-92", "mynets:tiny"))

    verdict = judge(suite, [])[2]

    assert (verdict.outcome, verdict.effect) == (Outcome.NOT_RUN, None)
    assert verdict.sentence == (
        "Not run: the multiply-adds of 'mynets:tiny' are not counted; 'ranbench run' counts the nets of a suite."
    )


def test_counts_take_no_share_of_the_level(suite_of, tmp_path):
    counted = """
  - {id: size, kind: complexity, cell: {model: attention-56, learning: naive}, metric: parameters, tolerance_pct: 3}
"""
    file = tmp_path / "small.yaml"
    alone = suite_of(BETTER)
    (verdict,) = judge(alone, done(alone, RESIDUAL_164, LOW) + done(alone, NAIVE_164, HIGH))
    text = file.read_text() + counted
    cell = "{model: attention-56, learning: naive}"
    published = f"  - {{cell: {cell}, metric: parameters, value: 62778, unit: parameters, where: t}}\n"
    file.write_text(text.replace("claims:\n", published + "claims:\n"))
    both = load_suite(file)

    beside, size = judge(both, done(both, RESIDUAL_164, LOW) + done(both, NAIVE_164, HIGH))

    assert (beside.level, beside.p, beside.low) == (verdict.level, verdict.p, verdict.low)
    assert (size.outcome, size.effect) == (Outcome.REPRODUCED, 0.0)

"""Claims and seeds that were declared after looking: what is known of it is said, and no verdict changes by it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from ranbench.claims import Outcome, Version, judge
from ranbench.records import RunRecord

from .conftest import BETTER, HEAD, HIGH, LOW, NAIVE_56, NAIVE_164, NOW, RESIDUAL_164, VALUE, attempt, done, record

DAY = timedelta(days=1)  # runs are done at NOW
BEFORE, AFTER = NOW - DAY, NOW + DAY
NEAR = (6.0, 6.1, 6.2, 6.1, 6.0)
WIDE = VALUE.replace("margin: 1.0", "margin: 6.0")


def late(suite, records, *versions):
    """Judge the one claim of a suite by runs and what was recorded; return its words, None without any."""
    [verdict] = judge(suite, records, versions=versions)
    found = verdict.declared_after
    assert (found.words in verdict.sentence) if found else ("declared" not in verdict.sentence)
    return found.words if found else None


def test_a_claim_that_was_recorded_before_its_runs_is_said_as_it_is(suite_of):
    suite = suite_of(VALUE)

    assert late(suite, done(suite, NAIVE_56, NEAR), Version(BEFORE, suite)) is None


def test_without_any_history_nothing_is_said_of_it(suite_of):
    suite = suite_of(VALUE)

    [verdict] = judge(suite, done(suite, NAIVE_56, NEAR))

    assert verdict.declared_after is None


def test_a_claim_without_runs_can_still_be_declared(suite_of):
    suite = suite_of(VALUE)

    assert late(suite, [], Version(AFTER, suite)) is None
    assert late(suite, []) is None


def test_other_words_do_not_make_another_claim(suite_of):
    old, new = suite_of(VALUE), suite_of(VALUE + "    says: near to it\n    where: table 3\n")

    assert late(new, done(new, NAIVE_56, NEAR), Version(BEFORE, old), Version(AFTER, new)) is None


def test_a_margin_may_change_before_any_run(suite_of):
    old, new = suite_of(VALUE), suite_of(WIDE)

    assert late(new, done(new, NAIVE_56, NEAR), Version(BEFORE - DAY, old), Version(BEFORE, new)) is None


def test_a_margin_that_changed_after_the_runs_is_told_with_the_former_one(suite_of):
    old, new = suite_of(VALUE), suite_of(WIDE)
    records = done(new, NAIVE_56, HIGH)

    [plain], [verdict] = judge(new, records), judge(new, records, versions=[Version(AFTER, new), Version(BEFORE, old)])

    said = "declared after 5 of its 5 runs were done (until then its margin was 1)"
    found = verdict.declared_after
    assert (found.runs, found.of, found.recorded, found.changed, found.before, found.words) == (
        5, 5, AFTER.isoformat(), ("margin",), 1.0, said,
    )  # fmt: skip
    assert verdict.outcome is plain.outcome is Outcome.REPRODUCED
    assert verdict.sentence == plain.sentence.replace("Reproduced:", f"Reproduced, {said}:")
    assert replace(verdict, declared_after=None, sentence=plain.sentence) == plain


def test_a_change_that_no_run_has_recorded_is_told_too(suite_of):
    old, new = suite_of(VALUE), suite_of(WIDE)

    words = late(new, done(new, NAIVE_56, NEAR), Version(BEFORE, old))

    assert words == "declared after 5 of its 5 runs were done (until then its margin was 1)"


def test_only_runs_that_came_before_the_change_are_counted(suite_of):
    old, new = suite_of(VALUE), suite_of(WIDE)
    records = [*done(new, NAIVE_56, NEAR[:4]), at(record(new, NAIVE_56, 4, attempt(error_pct=6.0)), AFTER + DAY)]

    words = late(new, records, Version(BEFORE, old), Version(AFTER, new))

    assert words == "declared after 4 of its 5 runs were done (until then its margin was 1)"


def test_a_run_that_is_trained_again_was_seen_when_it_was_first_done(suite_of):
    old, new = suite_of(VALUE), suite_of(WIDE)
    again = [
        replace(one, attempts=(*one.attempts, replace(attempt(error_pct=6.0), number=2, ended=AFTER + DAY)))
        for one in done(new, NAIVE_56, NEAR[:1])
    ]

    words = late(new, again, Version(BEFORE, old), Version(AFTER, new))

    assert words == "declared after its one run was done (until then its margin was 1)"


def test_a_claim_that_was_added_later_is_told(suite_of):
    old, new = suite_of(VALUE), suite_of(VALUE, BETTER)
    records = done(new, NAIVE_56, NEAR) + done(new, RESIDUAL_164, LOW) + done(new, NAIVE_164, HIGH)

    first, second = judge(new, records, versions=[Version(BEFORE, old), Version(AFTER, new)])

    assert first.declared_after is None
    assert second.declared_after.words == (
        "declared after 10 of its 10 runs were done (no version of the suite made it before)"
    )
    assert (second.declared_after.changed, second.declared_after.before) == ((), None)


def test_a_suite_that_was_recorded_after_its_runs_is_told(suite_of):
    suite = suite_of(VALUE)
    words = "declared after 5 of its 5 runs were done (the suite was not recorded before)"

    assert late(suite, done(suite, NAIVE_56, NEAR), Version(AFTER, suite)) == words
    assert late(suite, done(suite, NAIVE_56, NEAR)) == words


def test_a_suite_that_shares_cells_with_one_that_was_run_earlier_is_not_late_while_runs_of_it_were_to_come(suite_of):
    suite, other = suite_of(BETTER), suite_of(BETTER.replace("min_effect: 0.5", "min_effect: 0.25"))
    shared, own = done(suite, RESIDUAL_164, LOW), done(suite, NAIVE_164, HIGH)
    later = [replace(run, attempts=tuple(replace(one, ended=AFTER + DAY) for one in run.attempts)) for run in own]

    assert late(suite, shared + later, Version(AFTER, suite)) is None
    assert late(suite, shared + later, Version(BEFORE, other), Version(AFTER, suite)) is not None


@pytest.mark.parametrize(
    ("former", "said"),
    [
        (BETTER.replace("min_effect: 0.5", "min_effect: 0.25"), "until then its min_effect was 0.25"),
        (BETTER.replace("error_pct", "loss"), "until then its metric was 'loss'"),
        (BETTER + "    allow_scaled: true\n", "until then it allowed scaled runs"),
        (BETTER.replace("a: {model: attention-164", "a: {model: attention-56"), "until then it differed in cells"),
        (
            BETTER.replace("error_pct", "loss").replace("0.5", "0.1"),
            "until then it differed in metric and min_effect",
        ),
        (VALUE.replace("naive-56", "residual-wins"), "until then its kind was 'value'"),
        (
            "  - {id: residual-wins, kind: complexity, cell: {model: attention-56, learning: naive}, "
            "metric: parameters, tolerance_pct: 3}\n",
            "until then its kind was 'complexity'",
        ),
        (
            "  - {id: residual-wins, kind: better, over: [model], a: {learning: residual}, b: {learning: naive}, "
            "metric: error_pct, min_effect: 0.5}\n",
            "until then it differed in cells",
        ),
    ],
)
def test_what_a_claim_was_until_then_is_said(suite_of, former, said):
    head = HEAD.replace("claims:", PARAMETERS + "claims:")
    old, new = suite_of(former, head=head), suite_of(BETTER, head=head)
    records = done(new, RESIDUAL_164, LOW) + done(new, NAIVE_164, HIGH)

    words = late(new, records, Version(BEFORE, old), Version(AFTER, new))

    assert words == f"declared after 10 of its 10 runs were done ({said})"


PARAMETERS = """\
  - {cell: {model: attention-56, learning: naive}, metric: parameters, value: 1e6, unit: parameters, where: table 1}
"""


@pytest.mark.parametrize(
    ("claim", "former", "now", "said"),
    [
        (
            "  - {id: less, kind: ratio, a: {model: attention-164, learning: residual}, "
            "b: {model: attention-164, learning: naive}, metric: error_pct, at_most: 0.9}\n",
            "at_most: 0.9",
            "at_most: 0.8",
            "until then its bound was 0.9",
        ),
        (
            "  - {id: rises, kind: trend, along: model, x: order, cells: {learning: naive}, metric: error_pct, "
            "direction: rising}\n",
            "rising",
            "falling",
            "until then its direction was 'rising'",
        ),
        (VALUE, "margin: 1.0", "margin: 1.0\n    allow_scaled: true", "until then it did not allow scaled runs"),
    ],
)
def test_every_kind_has_terms_of_its_own(suite_of, claim, former, now, said):
    old, new = suite_of(claim), suite_of(claim.replace(former, now))
    records = [one for axes in (RESIDUAL_164, NAIVE_164, NAIVE_56) for one in done(new, axes, NEAR)]

    words = late(new, records, Version(BEFORE, old))

    assert words.endswith(f"({said})")


def test_a_published_number_is_a_part_of_the_claim_about_it(suite_of):
    old = suite_of(VALUE, head=HEAD.replace("value: 6.0", "value: 5.5"))
    new = suite_of(VALUE)

    words = late(new, done(new, NAIVE_56, NEAR), Version(BEFORE, old))

    assert words == "declared after 5 of its 5 runs were done (until then its published number was 5.5)"


def test_another_order_of_the_cells_is_no_other_claim_over_them(suite_of):
    over = BETTER.replace("model: attention-164, ", "") + "    over: [model]\n"
    old = suite_of(over, head=HEAD.replace("[attention-56, attention-164]", "[attention-164, attention-56]"))
    new = suite_of(over)

    assert late(new, done(new, NAIVE_164, HIGH) + done(new, RESIDUAL_164, LOW), Version(BEFORE, old)) is None


def test_a_reference_that_was_changed_after_the_runs_is_told(suite_of):
    head = HEAD.replace("protocol: digits", "protocol: short")
    old, new = suite_of(VALUE, head=head), suite_of(VALUE, head=head.replace("reference: digits", "reference: short"))

    words = late(new, done(new, NAIVE_56, NEAR), Version(BEFORE, old), Version(AFTER, new))

    assert words == "declared after 5 of its 5 runs were done (until then it differed in reference protocol)"


def test_a_claim_that_rests_on_no_run_is_left_alone(suite_of):
    old, new = suite_of(VALUE, protocol="short"), suite_of(WIDE, protocol="short")

    [verdict] = judge(new, done(new, NAIVE_56, NEAR), versions=[Version(BEFORE, old)])

    assert (verdict.outcome, verdict.declared_after) == (Outcome.NOT_COMPARABLE, None)


def test_a_version_that_cannot_be_read_is_passed_over_and_said(suite_of):
    suite = suite_of(VALUE)
    records = done(suite, NAIVE_56, NEAR)

    assert late(suite, records, Version(BEFORE - DAY, None), Version(BEFORE, suite)) is None
    assert late(suite, records, Version(BEFORE, None), Version(AFTER, suite)) == (
        "declared after 5 of its 5 runs were done "
        "(the suite was not recorded before, as far as its recorded versions can be read)"
    )


# --- seeds


def test_seeds_that_were_raised_in_the_file_after_the_first_run_are_adaptive(suite_of):
    old, new = suite_of(VALUE, head=HEAD.replace("seeds: 5", "seeds: 3")), suite_of(VALUE)
    records = done(new, NAIVE_56, NEAR)

    [verdict] = judge(new, records, versions=[Version(BEFORE, old), Version(AFTER, new)])

    assert (verdict.adaptive, verdict.declared_after, verdict.n) == ((3, 4), None, (5,))
    assert verdict.sentence.startswith("Reproduced with 2 adaptive seeds (added after looking): the mean test error")


def test_seeds_that_were_raised_before_the_first_run_are_planned(suite_of):
    old, new = suite_of(VALUE, head=HEAD.replace("seeds: 5", "seeds: 3")), suite_of(VALUE)

    [verdict] = judge(new, done(new, NAIVE_56, NEAR), versions=[Version(BEFORE - DAY, old), Version(BEFORE, new)])

    assert verdict.adaptive == ()


def test_the_first_run_of_the_suite_fixes_the_plan_also_where_the_claim_has_none(suite_of):
    old, new = suite_of(VALUE, head=HEAD.replace("seeds: 5", "seeds: 3")), suite_of(VALUE)
    first = done(new, RESIDUAL_164, LOW[:1])
    later = [at(one, AFTER + DAY) for one in done(new, NAIVE_56, NEAR)]

    [verdict] = judge(new, first + later, versions=[Version(BEFORE, old), Version(AFTER, new)])

    assert (verdict.adaptive, verdict.declared_after) == ((3, 4), None)


def test_a_suite_that_came_after_its_first_run_planned_what_it_said_first(suite_of):
    old, new = suite_of(VALUE, head=HEAD.replace("seeds: 5", "seeds: 3")), suite_of(VALUE)

    [verdict] = judge(new, done(new, NAIVE_56, NEAR), versions=[Version(AFTER, old), Version(AFTER + DAY, new)])

    assert verdict.adaptive == (3, 4)


def at(one: RunRecord, moment) -> RunRecord:
    """The same run, done at another time."""
    return replace(one, attempts=tuple(replace(made, ended=moment) for made in one.attempts))

"""Verdicts in words: one sentence each, with effect, bounds, n, test and what would change it."""

from __future__ import annotations

from collections.abc import Sequence

from ranbench.claims.cases import TESTS, Arm, Case, ClaimCase, Refusal, listed
from ranbench.claims.verdict import Need, Outcome
from ranbench.records import METRICS
from ranbench.statistics import MOST_SEEDS, HolmStep
from ranbench.suite import Better, Ratio, Tested, Trend, Value


def untested_words(case: Case, refusal: Refusal) -> str:
    """Say why one comparison is not tested, and its effect where there is one."""
    if refusal.effect is None:
        return f"{refusal.reason}; {refusal.remedy}"
    said = f"{effect_words(case, refusal.effect)} ({seeds_words(case.arms)})"
    return f"{said}, without a {TESTS[case.claim.kind]}: {refusal.reason}; {refusal.remedy}"


def tested_words(
    whole: ClaimCase, weakest: Case, effect: float, bounds: tuple[float, float], step: HolmStep, *, outcome: Outcome
) -> str:
    """Say what was found: of a claim with several comparisons, the effect that speaks least for it.

    ``step`` holds the p of the outcome, of an inconclusive one that of 'reproduced', which is then said.
    """
    claim, several = whole.claim, len(whole.cases)
    kind = "interval" if isinstance(claim, Value) else "one-sided bounds"
    low, high = (amount(claim, bound) for bound in bounds)
    interval = f"{100 * (1 - step.level):.4g} % {kind} {low} to {high}"
    head = f"of {several} comparisons the least: " if several > 1 else ""
    what = f"{head}{effect_words(weakest, effect)} ({interval}, {seeds_words(whole.arms)}, {TESTS[claim.kind]}"
    of = " of 'reproduced'" if outcome is Outcome.INCONCLUSIVE else ""
    return f"{what}, Holm-adjusted p{of} {p_words(step.p)})"


def effect_words(case: Case, effect: float) -> str:
    """Say an effect: ``the advantage of 'a' over 'b' in test error is +4 percentage points``."""
    claim, labels = case.claim, [arm.label for arm in case.arms]
    metric = METRICS[claim.metric]
    said = f"{amount(claim, effect)} {effect_unit(claim)}"
    if isinstance(claim, Better):
        return f"the advantage of {labels[0]} over {labels[1]} in {metric.label} is {said}"
    if isinstance(claim, Ratio):
        return f"the {metric.label} of {labels[0]} is {said} that of {labels[1]}"
    if isinstance(claim, Trend):
        last = len(claim.cells) - 1
        what = f"{metric.label} from {labels[0]} to {labels[last]}"
        if claim.minus:
            what = f"the gap in {what} over {labels[last + 1]} to {labels[-1]}"
        change = "rise" if claim.direction == "rising" else "fall"
        return f"the fitted {change} of {what} is {said}"
    return f"the mean {metric.label} of {labels[0]} is {said} from the published {claim.published:g}"


def change_words(whole: ClaimCase, outcome: Outcome, need: Need | None) -> str:
    """Say what would change an outcome."""
    claim = whole.claim
    if outcome is Outcome.INCONCLUSIVE:
        return _undecided_words(whole, need)
    confirmed, anywhere = outcome is Outcome.REPRODUCED, " at any of them" if len(whole.cases) > 1 else ""
    if isinstance(claim, Value):
        return (
            f"an interval that reaches {'past' if confirmed else 'into'} the margin of {claim.margin:g} would undo it"
        )
    at_most = isinstance(claim, Ratio) and claim.side == "at most"
    side, more = ("a lower", "less") if confirmed else ("an upper", "more")
    if at_most:
        side, more = ("an upper", "more") if confirmed else ("a lower", "less")
    if not confirmed and anywhere:
        return f"{side} bound of {threshold_words(claim)} or {more} in its place would undo it"
    return f"{side} bound of {threshold_words(claim)} or {more}{anywhere} would undo it"


def threshold_words(claim: Tested) -> str:
    """Say what a claim's effect is held against."""
    if isinstance(claim, Ratio):
        return f"{claim.bound:g}"
    return f"{claim.margin if isinstance(claim, Value) else claim.min_effect:g}"


def _undecided_words(whole: ClaimCase, need: Need | None) -> str:
    claim = whole.claim
    if isinstance(claim, Value):
        why = f"the interval lies neither inside nor outside the margin of {claim.margin:g}"
    else:
        why = f"{threshold_words(claim)} is not outside the bounds"
    return f"{why}; {need_words(whole, need)}" if need else f"{why}, and no number of seeds would decide this effect"


def need_words(whole: ClaimCase, need: Need) -> str:
    """Say how many more seeds would decide, and how.

    For instance ``4 more seeds per arm give 80 % power for 'reproduced' if the true effect is +0.37 percentage points,
    the paper's``.
    """
    claim = whole.claim
    more = f"more than {MOST_SEEDS:,}" if need.more is None else f"{need.more} more"
    seeds = "seed" if need.more == 1 else "seeds"
    per_arm = " per arm" if len(whole.cases[0].arms) > 1 else ""
    what = f"{amount(claim, need.effect)} {effect_unit(claim)}"
    basis = "the paper's" if need.basis == "paper" else "as seen here"
    verb = "gives" if need.more == 1 else "give"
    power = f"{100 * need.power:g} % power for '{need.outcome}' if the true effect is"
    return f"{more} {seeds}{per_arm} {verb} {power} {what}, {basis}"


def seeds_words(arms: Sequence[Arm]) -> str:
    """Say how many seeds were counted, of how many where some are missing, and how many failed."""
    complete = all(len(arm.values) == arm.planned for arm in arms)
    counts = [f"{len(arm.values)}" if complete else f"{len(arm.values)} of {arm.planned}" for arm in arms]
    failed = sum(arm.failed for arm in arms)
    n = f"{counts[0]} in each of {len(counts)} cells" if len(counts) > 2 and len(set(counts)) == 1 else listed(counts)
    return f"n = {n}{f', {failed} failed' if failed else ''}"


def effect_unit(claim: Tested) -> str:
    """Return the unit of an effect: of a difference of two percentages it is percentage points, of a ratio times."""
    if isinstance(claim, Ratio):
        return "times"
    unit = METRICS[claim.metric].unit
    return "percentage points" if unit == "percent" else unit


def amount(claim: Tested, effect: float) -> str:
    """Write an effect or bound: a difference with its sign, a ratio without."""
    return f"{effect:.3g}" if isinstance(claim, Ratio) else signed(effect)


def signed(number: float) -> str:
    """Write a number with its sign and three significant digits, all digits before the point."""
    return f"{number:+,.0f}" if abs(number) >= 1000 else f"{number + 0.0:+.3g}"


def p_words(p: float) -> str:
    """Write a p value: ``= 0.17``, ``< 0.0001``."""
    return "< 0.0001" if p < 0.0001 else f"= {p:.2g}"

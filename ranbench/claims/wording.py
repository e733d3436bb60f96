"""Verdicts in words: one sentence each, with effect, bounds, n, test and what would change it."""

from __future__ import annotations

from collections.abc import Sequence

from ranbench.claims.cases import TESTS, Arm, Case, ClaimCase, Refusal, listed
from ranbench.claims.verdict import Need, Outcome
from ranbench.records import METRICS
from ranbench.statistics import LEVEL, MOST_SEEDS
from ranbench.suite import Better, Ratio, Tested, Trend, Value


def untested_words(case: Case, refusal: Refusal) -> str:
    """Say why one comparison is not tested, and its effect where there is one."""
    if refusal.effect is None:
        return f"{refusal.reason}; {refusal.remedy}"
    said = f"{effect_words(case, refusal.effect)} ({seeds_words(case.arms)})"
    return f"{said}, without a {TESTS[case.claim.kind]}: {refusal.reason}; {refusal.remedy}"


def tested_words(
    case: Case, effect: float, bounds: tuple[float, float], level: float, p: float | None, *, outcome: Outcome
) -> str:
    """Say what one comparison shows; without ``p`` where others keep the claim from being tested as a whole.

    ``p`` is that of the outcome, of an inconclusive one that of 'reproduced', which is then said.
    """
    claim = case.claim
    kind = "interval" if isinstance(claim, Value) else "one-sided bounds"
    low, high = (amount(claim, bound) for bound in bounds)
    interval = f"{100 * (1 - level):.4g} % {kind} {low} to {high}"
    of = " of 'reproduced'" if outcome is Outcome.INCONCLUSIVE else ""
    adjusted = "" if p is None else f", Holm-adjusted p{of} {p_words(p)}"
    return f"{effect_words(case, effect)} ({interval}, {seeds_words(case.arms)}, {TESTS[claim.kind]}{adjusted})"


def deciding_words(whole: ClaimCase) -> str:
    """Introduce the comparison of a claim over a matrix that decides it, or may: the least sure one that was tested."""
    several, tested = len(whole.cases), len(whole.tested)
    if several == 1:
        return ""
    some = f"the {tested} tested" if 1 < tested < several else f"{several}"
    return (
        f"of {several} comparisons the only tested one: "
        if tested == 1
        else f"of {some} comparisons this one decides: "
    )


def missing_words(whole: ClaimCase) -> str:
    """Say which comparisons of a claim over a matrix cannot be tested, why, and what would help; of alike ones once."""
    missing = [(case, case.found) for case in whole.cases if isinstance(case.found, Refusal)]
    whys = [_reason_words(case, refusal) for case, refusal in missing]
    remedies = list(dict.fromkeys(refusal.remedy for _, refusal in missing))
    said = []
    for why in dict.fromkeys(whys):
        alike = [one for one, own in zip(missing, whys, strict=True) if own == why]
        remedy = f" ({alike[0][1].remedy})" if len(remedies) > 1 else ""
        everywhere = len(alike) == len(whole.cases)
        said.append(f"{'' if everywhere else f'{listed(case.at for case, _ in alike)}: '}{why}{remedy}")
    remedy = f"; {remedies[0]}" if len(remedies) == 1 else ""
    return f"{len(missing)} of {len(whole.cases)} comparisons cannot be tested: {'; '.join(said)}{remedy}"


def _reason_words(case: Case, refusal: Refusal) -> str:
    """Leave out the names of the cells where none of them has a run, failed or done: the comparison is named."""
    idle = not any(arm.values or arm.failed or arm.unmeasured for arm in case.arms)
    return "no finished run" if idle else refusal.reason


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
    confirmed = outcome is Outcome.REPRODUCED
    anywhere = f" at {'any' if confirmed else 'every'} comparison" if len(whole.cases) > 1 else ""
    if isinstance(claim, Value):
        return (
            f"an interval that reaches {'past' if confirmed else 'into'} the margin of {claim.margin:g} would undo it"
        )
    at_most = isinstance(claim, Ratio) and claim.side == "at most"
    side, more = ("a lower", "less") if confirmed else ("an upper", "more")
    if at_most:
        side, more = ("an upper", "more") if confirmed else ("a lower", "less")
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
    where = " at this comparison" if len(whole.cases) > 1 else ""
    power = f"{100 * need.power:g} % power for '{need.outcome}'{where} if the true effect is {what}, {basis}"
    return f"{more} {seeds}{per_arm} {verb} {power}, and the spread is as seen"


def seeds_words(arms: Sequence[Arm]) -> str:
    """Say how many seeds were counted, of how many where some are missing, and how many failed."""
    complete = all(len(arm.values) == arm.planned for arm in arms)
    counts = [f"{len(arm.values)}" if complete else f"{len(arm.values)} of {arm.planned}" for arm in arms]
    failed, unmeasured = sum(arm.failed for arm in arms), sum(arm.unmeasured for arm in arms)
    lost = f"{f', {failed} failed' if failed else ''}{f', {unmeasured} done without this metric' if unmeasured else ''}"
    n = f"{counts[0]} in each of {len(counts)} cells" if len(counts) > 2 and len(set(counts)) == 1 else listed(counts)
    return f"n = {n}{lost}"


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
    if p < 0.0001:
        return "< 0.0001"
    digits = 2
    while p != LEVEL and float(f"{p:.{digits}g}") == LEVEL:  # 0.0498 is under the level, and must not read as 0.05
        digits += 1
    return f"= {p:.{digits}g}"

"""What a verdict would be if failed runs were counted as the worst that can be."""

from __future__ import annotations

from dataclasses import replace

from ranbench.claims.cases import ERRORS, Arm, Case, ClaimCase, Refusal
from ranbench.claims.verdict import Outcome, Sensitivity
from ranbench.records import METRICS
from ranbench.suite import Tested


def with_failures(whole: ClaimCase, level: float) -> Sensitivity | None:
    """Judge again with every failed run counted; None where none failed, or where no runs would count.

    A net that diverged guesses: its error is that of chance. Another metric gets the worst value of all the claim's
    runs, and none where there is no run at all.
    """
    failed = sum(arm.failed for arm in whole.arms)
    worst = _worst(whole)
    if not failed or whole.refusal or worst is None:
        return None
    cases = [_counted(case, worst) for case in whole.cases]
    if any(isinstance(case.found, Refusal) for case in cases):
        outcome = Outcome.INCONCLUSIVE
    elif max(case.p_confirming for case in cases) < level:
        outcome = Outcome.REPRODUCED
    elif min(case.p_refuting for case in cases) < level / len(cases):
        outcome = Outcome.NOT_REPRODUCED
    else:
        outcome = Outcome.INCONCLUSIVE
    return Sensitivity(failed, worst, outcome)


def sensitivity_words(found: Sensitivity | None, claim: Tested) -> tuple[str, ...]:
    """Say it in a line, or in none."""
    if found is None:
        return ()
    runs = "the failed run were" if found.failed == 1 else f"the {found.failed} failed runs were"
    unit = METRICS[claim.metric].unit
    worst = f"guessing ({found.worst:g} {unit})" if claim.metric in ERRORS else f"the worst, {found.worst:.4g} {unit}"
    return (f"if {runs} counted as {worst}, it would be {found.outcome}",)


def _worst(whole: ClaimCase) -> float | None:
    metric = METRICS[whole.claim.metric]
    if metric.name in ERRORS:
        return max(100 * (1 - 1 / arm.cell.data.info.num_classes) for arm in whole.arms)
    values = [value for arm in whole.arms for value in arm.values]
    if not values:
        return None
    return max(values) if metric.lower_is_better else min(values)


def _counted(case: Case, worst: float) -> Case:
    return case.with_values([_with(arm, worst) for arm in case.arms])


def _with(arm: Arm, worst: float) -> Arm:
    return replace(arm, values=(*arm.values, *[worst] * arm.failed), failed=0)

"""What the effects are if failed runs are counted as the worst that can be: no test, since a guess is no sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from ranbench.claims.cases import ERRORS, Arm, Case, ClaimCase
from ranbench.claims.verdict import Imputed, Sensitivity
from ranbench.claims.wording import amount, effect_unit, effect_words
from ranbench.records import METRICS
from ranbench.suite import Value


def with_failures(whole: ClaimCase) -> Sensitivity | None:
    """Count every failed run, in the comparisons that have one; None where none has an effect then, or none counts.

    A net that diverged guesses: its error is that of chance. Another metric gets the worst value of all the claim's
    runs, and none where there is no run at all.
    """
    worst = _worst(whole)
    if whole.refusal or worst is None:
        return None
    found = [_imputed(case, worst) for case in whole.cases if any(arm.failed for arm in case.arms)]
    effects = tuple(effect for effect in found if effect is not None)
    return Sensitivity(sum(arm.failed for arm in whole.arms), worst, effects) if effects else None


def sensitivity_words(found: Sensitivity | None, whole: ClaimCase) -> tuple[str, ...]:
    """Say it in a line, or in none."""
    if found is None:
        return ()
    claim = whole.claim
    runs = "the failed run" if found.failed == 1 else f"the {found.failed} failed runs"
    unit = METRICS[claim.metric].unit
    worst = f"guessing ({found.worst:g} {unit})" if claim.metric in ERRORS else f"the worst, {found.worst:.4g} {unit}"
    if len(whole.cases) == 1:
        [one] = found.effects
        said = f"{effect_words(whole.cases[0], one.effect)}, which {_speaks(one)}"
    else:
        said = f"the effect is {'; '.join(_at(whole, one) for one in found.effects)}"
    return (f"with {runs} counted as {worst}, {said}",)


def _at(whole: ClaimCase, one: Imputed) -> str:
    return f"{amount(whole.claim, one.effect)} {effect_unit(whole.claim)} at {one.at}, which {_speaks(one)}"


def _speaks(one: Imputed) -> str:
    still = "" if one.spoke is None else "still " if one.spoke == one.speaks else "then "
    return f"{still}speaks {one.speaks} the claim"


def _worst(whole: ClaimCase) -> float | None:
    metric = METRICS[whole.claim.metric]
    if metric.name in ERRORS:
        return max(100 * (1 - 1 / arm.cell.data.info.num_classes) for arm in whole.arms)
    values = [value for arm in whole.arms for value in arm.values]
    if not values:
        return None
    return max(values) if metric.lower_is_better else min(values)


def _imputed(case: Case, worst: float) -> Imputed | None:
    """Return the effect with the failed runs of a comparison; None where a cell has no run, or there is no ratio."""
    seen = _effect(case, case.arms)
    found = _effect(case, [replace(arm, values=(*arm.values, *[worst] * arm.failed)) for arm in case.arms])
    if found is None:
        return None
    return Imputed(case.at, case.shown(found), _side(case, found), None if seen is None else _side(case, seen))


def _effect(case: Case, arms: Sequence[Arm]) -> float | None:
    return case.oriented([arm.mean for arm in arms]) if all(arm.values for arm in arms) else None


def _side(case: Case, effect: float) -> Literal["for", "against"]:
    within = abs(effect) < case.threshold if isinstance(case.claim, Value) else effect > case.threshold
    return "for" if within else "against"

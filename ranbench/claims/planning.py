"""How many seeds a claim takes: before its runs from a stated or measured spread, after them from what was seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from ranbench.claims.cases import MIN_SEEDS, NO_DEPTH, Arm, Case, ClaimCase, claim_case, listed
from ranbench.claims.verdict import Need, Outcome
from ranbench.claims.wording import effect_unit
from ranbench.counts import Counts
from ranbench.records import METRICS, RunRecord
from ranbench.statistics import LEVEL, POWER, Estimate, power_beyond, power_within, seeds_needed, summarise
from ranbench.suite import Better, Counted, Suite, Trend, Value

Basis = Literal["paper", "seen", "stated"]
PowerOf = Callable[[Sequence[int]], float]  # the power by the sizes of the arms


@dataclass(frozen=True)
class Planned:
    """The seeds that one claim takes.

    ``level``: Holm's first step, the strictest that it may meet. ``sds``: spread of one run in each arm, in the unit of
    the metric, with where it comes from. ``effects``: true effect of each comparison that the power is for, as a
    verdict shows it. ``seeds``: per arm for ``power``, None where a thousand do not do; ``power_as_planned``: of the
    suite's own seeds, over a matrix a lower bound. ``scaled``: what was measured or seen is of runs that the claim does
    not allow. ``reason``: why no number can be given, else None; what is known stands with it.
    """

    id: str
    kind: str
    level: float
    unit: str
    sds: tuple[float, ...] = ()
    spread: Literal["stated", "measured"] | None = None
    effects: tuple[float, ...] = ()
    basis: Basis | None = None
    seeds: int | None = None
    power: float = POWER
    planned: int = 0
    power_as_planned: float | None = None
    scaled: bool = False
    reason: str | None = None


def need(suite: Suite, whole: ClaimCase, level: float) -> Need | None:
    """Return the seeds that would decide an inconclusive claim; None where its effect lies on the threshold.

    For the paper's own effect where the runs at hand leave it undecided, else for the effect seen. Of a claim with
    several comparisons, the need of the one that decides, for itself alone.
    """
    case, several = whole.deciding, len(whole.cases)
    assert isinstance(case.found, Estimate)  # the claim was tested
    means = [arm.mean for arm in case.arms]
    spreads = case.spreads([summarise(arm.values).sd or 0.0 for arm in case.arms], means)
    sizes = [len(arm.values) for arm in case.arms]
    targets: list[tuple[Literal["paper", "seen"], float]] = [("seen", case.found.effect)]
    printed = None if isinstance(case.claim, Value) else _published_means(suite, case)
    papers = case.oriented(printed) if printed else None
    if papers is not None and papers > case.threshold:
        targets.insert(0, ("paper", papers))
    for basis, target in targets:
        power_of = _power_of(case, target, spreads, level, several)
        if power_of is None or power_of(sizes) >= POWER:
            continue
        more = seeds_needed(partial(_with_more, power_of, sizes), POWER, least=1)
        return Need(more, POWER, case.shown(target), basis, _true_outcome(case, target))
    return None


def _true_outcome(case: Case, effect: float) -> Outcome:
    """Return what is true of a claim whose oriented effect is this, and so what power is power for."""
    holds = abs(effect) < case.threshold if isinstance(case.claim, Value) else effect > case.threshold
    return Outcome.REPRODUCED if holds else Outcome.NOT_REPRODUCED


def _with_more(power_of: PowerOf, sizes: Sequence[int], more: int) -> float:
    return power_of([size + more for size in sizes])


def _power_of(case: Case, effect: float, spreads: Sequence[float], level: float, several: int) -> PowerOf | None:
    """Return the power for a true oriented effect as a function of the sizes of the arms; None on the threshold."""
    claim = case.claim
    if isinstance(claim, Value):
        gap = claim.margin - abs(effect)
        if gap > 0:
            return lambda sizes: power_within(effect, claim.margin, spreads[0], sizes[0], level)
        return (lambda sizes: power_beyond(-gap, spreads, sizes, level / 2)) if gap else None
    gap = effect - case.threshold
    if gap > 0:
        return lambda sizes: power_beyond(gap, spreads, sizes, level)
    return (lambda sizes: power_beyond(-gap, spreads, sizes, level / several)) if gap else None


def _published_means(suite: Suite, case: Case) -> list[float] | None:
    """Return what the paper prints for every arm, None where it does not print all."""
    metric = case.claim.metric
    values = {id(entry.cell): entry.value for entry in suite.published if entry.metric == metric}
    known = [values[id(arm.cell)] for arm in case.arms if id(arm.cell) in values]
    return known if len(known) == len(case.arms) else None


def plan_seeds(
    suite: Suite,
    records: Sequence[RunRecord],
    measured: Mapping[str, Counts] | None = None,
    sd: float | None = None,
    effect: float | None = None,
) -> tuple[Planned, ...]:
    """Say for each claim that rests on runs how many seeds per arm it takes.

    Args:
        suite: the suite.
        records: runs of its cells, from which spreads are taken; smoke runs are not.
        measured: counts of nets by ``complexity_key``.
        sd: standard deviation of one run in every arm, in the metric's unit, in place of what was measured.
        effect: true effect of every comparison of better claims and trends, in the metric's unit, in place of the
            paper's or the one seen. A value claim is planned for no deviation, a ratio has no effect in this unit.

    Raises:
        ValueError: ``sd`` or ``effect`` is not above zero.
    """
    for name, stated in (("a spread", sd), ("an effect", effect)):
        if stated is not None and not (stated > 0 and math.isfinite(stated)):
            raise ValueError(f"expected {name} above zero, got {stated!r}")
    found = {(record.cell_id, record.seed): record for record in records}
    claims = [claim for claim in suite.claims if not isinstance(claim, Counted)]
    wholes = [claim_case(suite, claim, found, measured or {}) for claim in claims]
    return tuple(_planned(suite, whole, LEVEL / len(wholes), sd, effect) for whole in wholes)


@dataclass(frozen=True)
class _Effect:
    """The true oriented effect that a comparison is planned for, with the means of the arms where they are known."""

    oriented: float
    basis: Basis
    means: tuple[float, ...] | None = None


def _planned(suite: Suite, whole: ClaimCase, level: float, sd: float | None, effect: float | None) -> Planned:
    claim, several = whole.claim, len(whole.cases)
    usable = whole.refusal is None or whole.fidelity != "smoke"
    spreads = [_spread(case, sd, usable=usable) for case in whole.cases]
    effects = [_effect(suite, case, effect, usable=usable) for case in whole.cases]
    blank = Planned(claim.id, claim.kind, level, effect_unit(claim), planned=len(suite.seeds))
    stated = [one for one in spreads if not isinstance(one, str)]
    if len(stated) == several:
        sds = tuple(own for one in stated for own in one)
        blank = replace(blank, sds=sds, spread="measured" if sd is None else "stated")
    known = [one for one in effects if not isinstance(one, str)]
    if len(known) == several:
        shown = tuple(case.shown(one.oriented) for case, one in zip(whole.cases, known, strict=True))
        bases = {one.basis for one in known}
        blank = replace(blank, effects=shown, basis=bases.pop() if len(bases) == 1 else "seen")
    powers: list[PowerOf] = []
    for case, spread, true in zip(whole.cases, spreads, effects, strict=True):
        if isinstance(spread, str):
            return replace(blank, reason=spread)
        if isinstance(true, str):
            return replace(blank, reason=true)
        own = case.spreads(spread, true.means or spread)
        power = _power_of(case, true.oriented, own, level, several)
        if power is None:
            return replace(blank, reason="its effect lies on the threshold, where no number of seeds decides")
        powers.append(power)

    def power_with(seeds: int) -> float:
        """Bound the power of all comparisons together from below by that of each (Bonferroni)."""
        missed = (1 - power([seeds] * len(case.arms)) for case, power in zip(whole.cases, powers, strict=True))
        return max(0.0, 1 - sum(missed))

    return replace(
        blank,
        seeds=seeds_needed(power_with),
        power_as_planned=power_with(blank.planned) if blank.planned >= MIN_SEEDS else None,
        scaled=whole.refused_as_scaled and (sd is None or any(one.basis == "seen" for one in known)),
    )


def _spread(case: Case, sd: float | None, *, usable: bool) -> tuple[float, ...] | str:
    """Take the spread of every arm from the option or the runs, or say what is missing."""
    if sd is not None:
        return (sd,) * len(case.arms)
    measured = [summarise(arm.values).sd or 0.0 if usable and arm.values else 0.0 for arm in case.arms]
    if max(measured) > 0:
        # an arm without a spread of its own: the largest of the others
        return tuple(own or max(measured) for own in measured)
    some = usable and any(arm.values for arm in case.arms)
    has = f" ({listed(_finished_words(arm) for arm in case.arms)})" if some else ""
    return f"no spread is measured yet{has}; --sd states one"


def _finished_words(arm: Arm) -> str:
    n = len(arm.values)
    alike = ", all alike" if n > 1 else ""
    return f"{arm.label} has {n or 'no'} finished run{'' if n == 1 else 's'}{alike}"


def _effect(suite: Suite, case: Case, stated: float | None, *, usable: bool) -> _Effect | str:
    """Take the true effect of a comparison from the option, the paper or the runs, or say what is missing."""
    if isinstance(case.claim, Value):
        return _Effect(0.0, "paper")
    if not any(case.weights):
        return f"{NO_DEPTH.reason}; {NO_DEPTH.remedy}"
    states = isinstance(case.claim, Better | Trend)
    if stated is not None and states:
        return _Effect(stated, "stated")
    paper = _published_means(suite, case)
    missing = [arm.label for arm in case.arms if not arm.values or not usable]
    seen = None if missing else [arm.mean for arm in case.arms]
    sources: tuple[tuple[Basis, list[float] | None], ...] = (("paper", paper), ("seen", seen))
    for basis, means in sources:
        oriented = case.oriented(means) if means else None
        if means and oriented is not None:
            return _Effect(oriented, basis, tuple(means))
    if not missing:
        return f"{METRICS[case.claim.metric].label} is not above zero, so there is no ratio"
    some = len(missing) < len(case.arms)
    runs = f"no run of {listed(missing)} is done" if some else "no run is done" if usable else "smoke runs do not count"
    return f"the paper prints no numbers to take its effect from, and {runs}{'; --effect states one' if states else ''}"

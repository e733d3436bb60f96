"""How many seeds a claim takes: before its runs from a stated or measured spread, after them from what was seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from ranbench.claims.cases import MIN_SEEDS, Case, ClaimCase, claim_case
from ranbench.claims.verdict import Need
from ranbench.claims.wording import effect_unit
from ranbench.counts import Counts
from ranbench.records import RunRecord
from ranbench.statistics import LEVEL, POWER, Estimate, power_beyond, power_within, seeds_needed, summarise
from ranbench.suite import Counted, Suite, Value

Basis = Literal["paper", "seen"]
PowerOf = Callable[[Sequence[int]], float]  # the power by the sizes of the arms


@dataclass(frozen=True)
class Planned:
    """The seeds that one claim takes.

    ``level``: Holm's first step, the strictest that it may meet. ``sds``: spread of one run in each arm, in the unit of
    the metric, with where it comes from. ``effects``: true effect of each comparison that the power is for, as a
    verdict shows it. ``seeds``: per arm for ``power``, None where a thousand do not do; ``power_as_planned``: of the
    suite's own seeds, over a matrix a lower bound. ``scaled``: what was measured or seen is of runs that the claim does
    not allow. ``reason``: why nothing can be said, else None.
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
    targets: list[tuple[Basis, float]] = [("seen", case.found.effect)]
    printed = None if isinstance(case.claim, Value) else _published_means(suite, case)
    papers = case.oriented(printed) if printed else None
    if papers is not None and papers > case.threshold:
        targets.insert(0, ("paper", papers))
    for basis, target in targets:
        power_of = _power_of(case, target, spreads, level, several)
        if power_of is None or power_of(sizes) >= POWER:
            continue
        more = seeds_needed(partial(_with_more, power_of, sizes), POWER, least=1)
        return Need(more, POWER, case.shown(target), basis)
    return None


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
    suite: Suite, records: Sequence[RunRecord], measured: Mapping[str, Counts] | None = None, sd: float | None = None
) -> tuple[Planned, ...]:
    """Say for each claim that rests on runs how many seeds per arm it takes.

    Args:
        suite: the suite.
        records: runs of its cells, from which spreads are taken; smoke runs are not.
        measured: counts of nets by ``complexity_key``.
        sd: standard deviation of one run in every arm, in the metric's unit, in place of what was measured.

    Raises:
        ValueError: ``sd`` is not above zero.
    """
    if sd is not None and not (sd > 0 and math.isfinite(sd)):
        raise ValueError(f"expected a spread above zero, got {sd!r}")
    found = {(record.cell_id, record.seed): record for record in records}
    claims = [claim for claim in suite.claims if not isinstance(claim, Counted)]
    wholes = [claim_case(suite, claim, found, measured or {}) for claim in claims]
    return tuple(_planned(suite, whole, LEVEL / len(wholes), sd) for whole in wholes)


@dataclass(frozen=True)
class _Design:
    """One comparison as it is planned: true oriented effect, and the spread of one run in each arm."""

    effect: float
    basis: Basis
    sds: tuple[float, ...]
    spreads: tuple[float, ...]


def _planned(suite: Suite, whole: ClaimCase, level: float, sd: float | None) -> Planned:
    claim, several = whole.claim, len(whole.cases)
    blank = Planned(claim.id, claim.kind, level, effect_unit(claim), planned=len(suite.seeds))
    designs: list[_Design] = []
    powers: list[PowerOf] = []
    for case in whole.cases:
        design = _design(suite, case, whole, sd)
        if isinstance(design, str):
            return replace(blank, reason=design)
        power = _power_of(case, design.effect, design.spreads, level, several)
        if power is None:
            return replace(blank, reason="its effect lies on the threshold, where no number of seeds decides")
        designs.append(design)
        powers.append(power)

    def power_with(seeds: int) -> float:
        """Bound the power of all comparisons together from below by that of each (Bonferroni)."""
        missed = (1 - power([seeds] * len(case.arms)) for case, power in zip(whole.cases, powers, strict=True))
        return max(0.0, 1 - sum(missed))

    return replace(
        blank,
        sds=tuple(one for design in designs for one in design.sds),
        spread="measured" if sd is None else "stated",
        effects=tuple(case.shown(design.effect) for case, design in zip(whole.cases, designs, strict=True)),
        basis="paper" if all(design.basis == "paper" for design in designs) else "seen",
        seeds=seeds_needed(power_with),
        power_as_planned=power_with(blank.planned) if blank.planned >= MIN_SEEDS else None,
        scaled=whole.refused_as_scaled and (sd is None or any(design.basis == "seen" for design in designs)),
    )


def _design(suite: Suite, case: Case, whole: ClaimCase, sd: float | None) -> _Design | str:
    """Take effect and spread of a comparison from the paper, the option and the runs, or say what is missing."""
    usable = whole.refusal is None or whole.fidelity != "smoke"
    measured = [summarise(arm.values).sd or 0.0 if usable and arm.values else 0.0 for arm in case.arms]
    if sd is not None:
        sds = [sd] * len(case.arms)
    elif max(measured) > 0:
        sds = [
            own or max(measured) for own in measured
        ]  # an arm without a spread of its own: the largest of the others
    else:
        return "no spread is measured yet; --sd states one"
    if isinstance(case.claim, Value):
        return _Design(0.0, "paper", tuple(sds), tuple(sds))
    paper = _published_means(suite, case)
    seen = [arm.mean for arm in case.arms] if usable and all(arm.values for arm in case.arms) else None
    sources: tuple[tuple[Basis, list[float] | None], ...] = (("paper", paper), ("seen", seen))
    for basis, means in sources:
        effect = case.oriented(means) if means and any(case.weights) else None
        if means and effect is not None:
            return _Design(effect, basis, tuple(sds), tuple(case.spreads(sds, means)))
    return "the paper prints no numbers to take its effect from, and no run is done"

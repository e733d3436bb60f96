"""Claims + records -> verdicts. The numbers come from ``statistics``; here stand the rules and their words.

Nothing is read from a database and nothing is rendered. The rules are those of ``docs/statistics.md``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial

from ranbench.counts import Counts, lookup, size_of
from ranbench.records import METRICS, SIZE_METRICS, RunRecord, State
from ranbench.spec import Fidelity, complexity_key, fidelity
from ranbench.statistics import Estimate, HolmStep, holm, one_sample, summarise, welch
from ranbench.suite import Better, Cell, Claim, Counted, Suite, Value, count_words

MIN_SEEDS = 3


class Outcome(StrEnum):
    """What the runs say about a claim."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    INCONCLUSIVE = "inconclusive"
    NOT_COMPARABLE = "not comparable"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Verdict:
    """A claim with its outcome. ``n`` and ``planned`` hold one number per arm; ``unit`` is that of the effect.

    A claim of kind complexity is exact: it has no arms, no bounds and no p, and its effect is in percent of the
    published number; ``test`` says whether a run counted the net or its count is the package's stored one.

    ``effect``: for ``better`` how much better a is than b; for ``value`` our mean minus the published number.
    ``low``, ``high``: for ``better`` the two one-sided bounds of the effect, each at ``level``; for ``value`` its
    two-sided interval at ``level``. ``level``: Holm's for the direction that was decided, else the smaller of both
    directions', so that the bounds always agree with the outcome. ``p``: Holm-adjusted, of the decided direction, else
    of 'reproduced'. ``failed``: runs of all arms that failed or ended without a finite metric. ``reason``: why there is
    no test, else None.
    """

    claim: Claim
    outcome: Outcome
    effect: float | None
    low: float | None
    high: float | None
    n: tuple[int, ...]
    planned: tuple[int, ...]
    failed: int
    level: float | None
    p: float | None
    test: str
    fidelity: Fidelity
    unit: str
    sentence: str
    reason: str | None


def judge(
    suite: Suite, records: Sequence[RunRecord], measured: Mapping[str, Counts] | None = None
) -> tuple[Verdict, ...]:
    """Judge every claim of ``suite`` by the runs of ``suite.protocol`` and ``suite.seeds`` among ``records``.

    Holm's correction runs over all declared claims that rest on runs, once for 'reproduced' and once for 'not
    reproduced'; a claim that cannot be tested counts with p = 1. Counts are exact, so claims about them are no tests
    and take no share of the level.

    Args:
        suite: the suite.
        records: runs of its cells.
        measured: counts by ``complexity_key`` of the cell; a net that is not among them is looked up in counts.json.

    Returns:
        One verdict per claim, in the order of ``suite.claims``.

    Raises:
        ValueError: two records of the same run.
    """
    found = {(record.cell_id, record.seed): record for record in records}
    if len(found) != len(records):
        raise ValueError("two records of the same run")
    cases = [_case(suite, claim, found) for claim in suite.claims if not isinstance(claim, Counted)]
    confirming = holm([case.p_confirming for case in cases])
    refuting = holm([case.p_refuting for case in cases])
    tested = iter([_verdict(suite, *each) for each in zip(cases, confirming, refuting, strict=True)])
    return tuple(
        _counted(suite, claim, measured or {}) if isinstance(claim, Counted) else next(tested) for claim in suite.claims
    )


def _counted(suite: Suite, claim: Counted, measured: Mapping[str, Counts]) -> Verdict:
    """Judge a count: reproduced exactly where it lies within the tolerance of the published number."""
    cell = claim.cell
    recorded = measured.get(complexity_key(cell.model, cell.data))
    counts = recorded or lookup(cell.model, cell.data)
    ours = size_of(claim.metric, counts, cell.model, cell.data)
    test = "exact count" if recorded else "stored count"
    verdict = partial(
        Verdict,
        claim=claim,
        low=None,
        high=None,
        n=(),
        planned=(),
        failed=0,
        level=None,
        p=None,
        test=test,
        fidelity="full",
        unit="percent",
    )
    if ours is None:
        verb = "is" if claim.metric == "depth" else "are"
        reason = f"the {SIZE_METRICS[claim.metric].label} of '{suite.label(claim.cell)}' {verb} not counted"
        sentence = f"Not run: {reason}; 'ranbench run' counts the nets of a suite."
        return verdict(outcome=Outcome.NOT_RUN, effect=None, sentence=sentence, reason=reason)
    effect = 100 * (ours - claim.published) / claim.published
    outcome = Outcome.REPRODUCED if abs(effect) <= claim.tolerance_pct else Outcome.NOT_REPRODUCED
    return verdict(
        outcome=outcome, effect=effect, sentence=_counted_words(suite, claim, outcome, ours, test), reason=None
    )


def _counted_words(suite: Suite, claim: Counted, outcome: Outcome, ours: int, test: str) -> str:
    unit, label = SIZE_METRICS[claim.metric].unit, suite.label(claim.cell)
    if ours == claim.published:
        compared = f"has exactly {count_words(ours)} {unit}, as published"
    else:
        exactly = "" if count_words(ours) == f"{ours:,}" else f" ({ours:,})"
        printed = count_words(claim.published, claim.digits)
        off = f"{_signed(100 * (ours - claim.published) / claim.published)} %"
        compared = f"has {count_words(ours)} {unit}{exactly}, {off} from the published {printed}"
    within = "within" if outcome is Outcome.REPRODUCED else "outside"
    tolerance = (
        f", {within} the tolerance of {claim.tolerance_pct:g} %" if claim.tolerance_pct or within == "outside" else ""
    )
    return f"{outcome.capitalize()}: '{label}' {compared}{tolerance} ({test})."


@dataclass(frozen=True)
class _Arm:
    """The runs of one cell: the finite values in the order of seeds, and what became of the others."""

    label: str
    values: tuple[float, ...]
    planned: int
    failed: int


@dataclass(frozen=True)
class _Refusal:
    """Why a claim is not tested, and what would help."""

    outcome: Outcome
    reason: str
    remedy: str
    effect: float | None = None


@dataclass(frozen=True)
class _Case:
    """A claim with its runs and what they give."""

    claim: Better | Value
    arms: tuple[_Arm, ...]
    fidelity: Fidelity
    found: Estimate | _Refusal

    @property
    def test(self) -> str:
        """Name of the test."""
        return "Welch t-test" if isinstance(self.claim, Better) else "one-sample t-test"

    @property
    def p_confirming(self) -> float:
        """Unadjusted p of 'reproduced'."""
        if isinstance(self.found, _Refusal):
            return 1.0
        if isinstance(self.claim, Better):
            return self.found.p_above(self.claim.min_effect)
        return self.found.p_within(self.claim.margin)

    @property
    def p_refuting(self) -> float:
        """Unadjusted p of 'not reproduced'."""
        if isinstance(self.found, _Refusal):
            return 1.0
        if isinstance(self.claim, Better):
            return self.found.p_below(self.claim.min_effect)
        return self.found.p_outside(self.claim.margin)


def _case(suite: Suite, claim: Better | Value, found: Mapping[tuple[str, int], RunRecord]) -> _Case:
    cells = (claim.a, claim.b) if isinstance(claim, Better) else (claim.cell,)
    arms = tuple(_arm(suite, cell, claim.metric, found) for cell in cells)
    of_cells = (fidelity(suite.protocol, suite.reference, cell.data) for cell in cells)
    least = min(of_cells, key=("smoke", "scaled", "full").index)
    refusal = _refused_by_fidelity(suite, claim, least) or _refused_by_missing_runs(arms)
    return _Case(claim, arms, least, refusal or _estimate(claim, arms))


def _arm(suite: Suite, cell: Cell, metric: str, found: Mapping[tuple[str, int], RunRecord]) -> _Arm:
    cell_id = cell.run(suite.protocol, 0).cell_id
    records = [found[cell_id, seed] for seed in suite.seeds if (cell_id, seed) in found]
    done = [record.counted.metrics.get(metric, math.nan) for record in records if record.counted]
    values = tuple(value for value in done if math.isfinite(value))
    failed = sum(record.state == State.FAILED for record in records) + len(done) - len(values)
    return _Arm(f"'{suite.label(cell)}'", values, len(suite.seeds), failed)


def _refused_by_fidelity(suite: Suite, claim: Better | Value, least: Fidelity) -> _Refusal | None:
    remedy = f"runs of the protocol '{suite.reference_name}' would count"
    if least == "smoke":
        return _Refusal(Outcome.NOT_RUN, "runs of smoke fidelity never count", remedy)
    if least == "scaled" and not claim.allow_scaled:
        return _Refusal(Outcome.NOT_COMPARABLE, ", ".join(suite.differences), remedy)
    return None


def _refused_by_missing_runs(arms: Sequence[_Arm]) -> _Refusal | None:
    missing = [arm for arm in arms if not arm.values]
    if not missing:
        return None
    failed = sum(arm.failed for arm in missing)
    reason = f"no finished run of {_listed(arm.label for arm in missing)}{f' ({failed} failed)' if failed else ''}"
    return _Refusal(Outcome.NOT_RUN, reason, f"three finished seeds{_per_arm(arms)} would allow a test")


def _estimate(claim: Better | Value, arms: Sequence[_Arm]) -> Estimate | _Refusal:
    """Estimate the effect, where every arm has at least one value."""
    effect = _effect(claim, arms)
    if any(len(arm.values) < MIN_SEEDS for arm in arms):
        reason = f"it needs three seeds{_per_arm(arms)}, has {_listed(len(arm.values) for arm in arms)}"
        return _Refusal(Outcome.INCONCLUSIVE, reason, "more seeds would allow one", effect)
    if isinstance(claim, Better):
        estimate = welch(*_plus_minus(claim, arms))
    else:
        estimate = one_sample(arms[0].values, claim.published)
    reason = "no spread between seeds, so no interval can be formed"
    return estimate or _Refusal(Outcome.INCONCLUSIVE, reason, "seeds with differing values would allow one", effect)


def _effect(claim: Better | Value, arms: Sequence[_Arm]) -> float:
    if isinstance(claim, Better):
        plus, minus = _plus_minus(claim, arms)
        return summarise(plus).mean - summarise(minus).mean
    return summarise(arms[0].values).mean - claim.published


def _plus_minus(claim: Better, arms: Sequence[_Arm]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Order the values of a and b so that the first minus the second is positive where a is better."""
    a, b = (arm.values for arm in arms)
    return (b, a) if METRICS[claim.metric].lower_is_better else (a, b)


def _verdict(suite: Suite, case: _Case, confirming: HolmStep, refuting: HolmStep) -> Verdict:
    scaled = case.fidelity == "scaled" and case.claim.allow_scaled
    fidelity_words = f" at scaled fidelity ({', '.join(suite.differences)})" if scaled else ""
    make = partial(
        Verdict,
        claim=case.claim,
        n=tuple(len(arm.values) for arm in case.arms),
        planned=tuple(arm.planned for arm in case.arms),
        failed=sum(arm.failed for arm in case.arms),
        test=case.test,
        fidelity=case.fidelity,
        unit=_effect_unit(case.claim),
    )
    if isinstance(case.found, _Refusal):
        outcome = case.found.outcome
        sentence = f"{outcome.capitalize()}{fidelity_words}: {_untested_words(case, case.found)}."
        return make(
            outcome=outcome,
            effect=case.found.effect,
            low=None,
            high=None,
            level=None,
            p=None,
            sentence=sentence,
            reason=case.found.reason,
        )
    outcome, step = _decide(confirming, refuting)
    low, high = _bounds(case.claim, case.found, step.level)
    tested = _tested_words(case, case.found.effect, (low, high), step)
    sentence = f"{outcome.capitalize()}{fidelity_words}: {tested}; {_what_would_change(case.claim, outcome)}."
    return make(
        outcome=outcome,
        effect=case.found.effect,
        low=low,
        high=high,
        level=step.level,
        p=step.p,
        sentence=sentence,
        reason=None,
    )


def _decide(confirming: HolmStep, refuting: HolmStep) -> tuple[Outcome, HolmStep]:
    """Return the outcome, and the step that holds its p and the level of its bounds."""
    if confirming.rejected:
        return Outcome.REPRODUCED, confirming
    if refuting.rejected:
        return Outcome.NOT_REPRODUCED, refuting
    return Outcome.INCONCLUSIVE, replace(confirming, level=min(confirming.level, refuting.level))


def _bounds(claim: Better | Value, estimate: Estimate, level: float) -> tuple[float, float]:
    if isinstance(claim, Better):
        return estimate.lower(level), estimate.upper(level)
    return estimate.interval(level)


def _untested_words(case: _Case, refusal: _Refusal) -> str:
    if refusal.effect is None:
        return f"{refusal.reason}; {refusal.remedy}"
    effect = _effect_words(case, refusal.effect)
    return f"{effect} ({_seeds_words(case.arms)}), without a {case.test}: {refusal.reason}; {refusal.remedy}"


def _tested_words(case: _Case, effect: float, bounds: tuple[float, float], step: HolmStep) -> str:
    kind = "one-sided bounds" if isinstance(case.claim, Better) else "interval"
    interval = f"{100 * (1 - step.level):.4g} % {kind} {_signed(bounds[0])} to {_signed(bounds[1])}"
    p = "< 0.0001" if step.p < 0.0001 else f"= {step.p:.2g}"
    seeds = _seeds_words(case.arms)
    return f"{_effect_words(case, effect)} ({interval}, {seeds}, {case.test}, Holm-adjusted p {p})"


def _effect_words(case: _Case, effect: float) -> str:
    claim, labels = case.claim, [arm.label for arm in case.arms]
    metric, amount = METRICS[claim.metric], f"{_signed(effect)} {_effect_unit(claim)}"
    if isinstance(claim, Better):
        return f"the advantage of {labels[0]} over {labels[1]} in {metric.label} is {amount}"
    return f"the mean {metric.label} of {labels[0]} is {amount} from the published {claim.published:g}"


def _what_would_change(claim: Better | Value, outcome: Outcome) -> str:
    if isinstance(claim, Better):
        threshold = f"{claim.min_effect:g}"
        return {
            Outcome.REPRODUCED: f"a lower bound of {threshold} or less would undo it",
            Outcome.NOT_REPRODUCED: f"an upper bound of {threshold} or more would undo it",
        }.get(outcome, f"{threshold} is not outside the bounds, which more seeds would bring closer together")
    margin = f"the margin of {claim.margin:g}"
    return {
        Outcome.REPRODUCED: f"an interval that reaches past {margin} would undo it",
        Outcome.NOT_REPRODUCED: f"an interval that reaches into {margin} would undo it",
    }.get(outcome, f"the interval lies neither inside nor outside {margin}, and more seeds would narrow it")


def _seeds_words(arms: Sequence[_Arm]) -> str:
    """Say how many seeds were counted, of how many where some are missing, and how many failed."""
    complete = all(len(arm.values) == arm.planned for arm in arms)
    counts = (f"{len(arm.values)}" if complete else f"{len(arm.values)} of {arm.planned}" for arm in arms)
    failed = sum(arm.failed for arm in arms)
    return f"n = {_listed(counts)}{f', {failed} failed' if failed else ''}"


def _effect_unit(claim: Better | Value) -> str:
    """Return the unit of a difference: of two percentages it is percentage points."""
    unit = METRICS[claim.metric].unit
    return "percentage points" if unit == "percent" else unit


def _per_arm(arms: Sequence[_Arm]) -> str:
    return " per arm" if len(arms) > 1 else ""


def _signed(number: float) -> str:
    """Write a number with its sign and three significant digits, all digits before the point."""
    return f"{number:+,.0f}" if abs(number) >= 1000 else f"{number + 0.0:+.3g}"


def _listed(items: Iterable[object]) -> str:
    return " and ".join(str(item) for item in items)

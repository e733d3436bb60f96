"""Claims with their runs: arms of values, the estimate of each comparison, or why there is none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ranbench.claims.verdict import Outcome
from ranbench.counts import Counts, lookup
from ranbench.records import METRICS, RESPONSE_METRICS, RunRecord, State
from ranbench.spec import Fidelity, complexity_key, fidelity
from ranbench.statistics import Estimate, contrast, log_ratio, one_sample, slope_weights
from ranbench.suite import Better, Cell, Ratio, Suite, Tested, Trend, Value

MIN_SEEDS = 3
ERRORS = ("error_pct", "best_error_pct")  # shares of the test images
TESTS: Mapping[str, str] = {
    "better": "Welch t-test",
    "value": "one-sample t-test",
    "trend": "Welch t-test of the slope",
    "ratio": "Welch t-test of the log ratio",
}


@dataclass(frozen=True)
class Arm:
    """The runs of one cell: the finite values with their seeds and attempts, and what became of the others.

    ``unmeasured``: runs that are done, but of which this metric was not measured; they have not failed.
    """

    label: str
    cell: Cell
    values: tuple[float, ...]
    seeds: tuple[int, ...]
    attempts: tuple[int, ...]
    planned: int
    failed: int
    unmeasured: int = 0

    @property
    def mean(self) -> float:
        """Mean of the values, of which there must be one."""
        return math.fsum(self.values) / len(self.values)


@dataclass(frozen=True)
class Refusal:
    """Why a claim is not tested, and what would help; ``effect`` as it is shown, where there is one."""

    outcome: Outcome
    reason: str
    remedy: str
    effect: float | None = None


@dataclass(frozen=True)
class Case:
    """One comparison with its runs; a claim has several where it ranges over a matrix.

    ``weights``: of the arms' means in the effect; for a ratio, of their logarithms. ``found`` is oriented: it is to
    exceed ``threshold``, and for a value to lie within it on both sides of zero. ``shown`` turns it into what is read.
    """

    claim: Tested
    at: str
    arms: tuple[Arm, ...]
    weights: tuple[float, ...]
    found: Estimate | Refusal

    @property
    def threshold(self) -> float:
        """What the oriented effect must exceed; of a value, its margin."""
        claim = self.claim
        if isinstance(claim, Value):
            return claim.margin
        if isinstance(claim, Ratio):
            return self.weights[0] * math.log(claim.bound)
        return claim.min_effect

    @property
    def p_confirming(self) -> float:
        """Unadjusted p of 'reproduced'."""
        if isinstance(self.found, Refusal):
            return 1.0
        within = isinstance(self.claim, Value)
        return self.found.p_within(self.threshold) if within else self.found.p_above(self.threshold)

    @property
    def p_refuting(self) -> float:
        """Unadjusted p of 'not reproduced'."""
        if isinstance(self.found, Refusal):
            return 1.0
        within = isinstance(self.claim, Value)
        return self.found.p_outside(self.threshold) if within else self.found.p_below(self.threshold)

    def bounds(self, confirming: float, refuting: float) -> tuple[float, float] | None:
        """Return the oriented lower bound at one level and the upper at another; of a value, its interval."""
        if isinstance(self.found, Refusal):
            return None
        if isinstance(self.claim, Value):
            return self.found.interval(confirming)
        return self.found.lower(confirming), self.found.upper(refuting)

    def shown(self, oriented: float) -> float:
        """Turn an oriented effect or bound into what is read: of a ratio, a's mean over b's."""
        return math.exp(self.weights[0] * oriented) if isinstance(self.claim, Ratio) else oriented

    def oriented(self, means: Sequence[float]) -> float | None:
        """Return the oriented effect of these means of the arms; None for a ratio of what is not above zero."""
        if isinstance(self.claim, Ratio):
            if min(means) <= 0:
                return None
            means = [math.log(mean) for mean in means]
        elif isinstance(self.claim, Value):
            return means[0] - self.claim.published
        return sum(weight * mean for weight, mean in zip(self.weights, means, strict=True))

    def spreads(self, sds: Sequence[float], means: Sequence[float]) -> list[float]:
        """Return the standard deviation of one value of each arm as it enters the oriented effect."""
        scale = means if isinstance(self.claim, Ratio) else [1.0] * len(sds)
        return [abs(weight) * sd / by for weight, sd, by in zip(self.weights, sds, scale, strict=True)]

    def with_values(self, arms: Sequence[Arm]) -> Case:
        """Estimate anew from other values of the same arms."""
        return replace(self, arms=tuple(arms), found=_found(replace(self, arms=tuple(arms))))


@dataclass(frozen=True)
class ClaimCase:
    """A claim with all its comparisons; ``refusal``: why it is not tested, whatever the runs are."""

    claim: Tested
    cases: tuple[Case, ...]
    fidelity: Fidelity
    refusal: Refusal | None

    @property
    def refused_as_scaled(self) -> bool:
        """Whether its runs are of scaled fidelity, which the claim does not allow."""
        return self.refusal is not None and self.refusal.outcome is Outcome.NOT_COMPARABLE

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms of all comparisons."""
        return tuple(arm for case in self.cases for arm in case.arms)

    @property
    def p_confirming(self) -> float:
        """Unadjusted p of 'reproduced': the largest, since every comparison must hold (intersection-union)."""
        return 1.0 if self.refusal else max(case.p_confirming for case in self.cases)

    @property
    def p_refuting(self) -> float:
        """Unadjusted p of 'not reproduced': one comparison is enough, so the smallest counts as Holm's first step."""
        return 1.0 if self.refusal else min(1.0, len(self.cases) * min(case.p_refuting for case in self.cases))

    @property
    def tested(self) -> tuple[Case, ...]:
        """The comparisons that have an estimate."""
        return () if self.refusal else tuple(case for case in self.cases if isinstance(case.found, Estimate))

    @property
    def deciding(self) -> Case:
        """The tested comparison that is least sure to hold, and so most sure to fail; there must be a tested one."""
        return max(self.tested, key=lambda case: (case.p_confirming, -case.p_refuting))  # near 1 a p has few digits


def claim_case(
    suite: Suite, claim: Tested, found: Mapping[tuple[str, int], RunRecord], measured: Mapping[str, Counts]
) -> ClaimCase:
    """Gather the runs of a claim and estimate its effects.

    Args:
        suite: the suite.
        claim: one of its claims that rest on runs.
        found: records by (cell_id, seed).
        measured: counts of nets by ``complexity_key``, for trends over depth.
    """
    groups = _groups(claim)
    cells = [cell for _, group in groups for cell in group]
    of_cells = (fidelity(suite.protocol, suite.reference, cell.data) for cell in cells)
    least = min(of_cells, key=("smoke", "scaled", "full").index)
    weights = claim_weights(claim, measured)
    cases = []
    for at, group in groups:
        arms = tuple(_arm(suite, cell, claim.metric, found) for cell in group)
        case = Case(claim, at, arms, weights or (0.0,) * len(arms), _NO_ESTIMATE)
        cases.append(case.with_values(arms) if weights else case)
    refusal = _refused_by_fidelity(suite, claim, least) or (None if weights else NO_DEPTH)
    return ClaimCase(claim, tuple(cases), least, refusal)


_NO_ESTIMATE = Refusal(Outcome.NOT_RUN, "not estimated", "runs would allow it")
NO_DEPTH = Refusal(
    Outcome.NOT_RUN,
    "the trunk depths of its nets are not counted, or are all one",
    "'ranbench complexity MODEL' counts a net",
)


def _groups(claim: Tested) -> list[tuple[str, tuple[Cell, ...]]]:
    if isinstance(claim, Value):
        return [("", (claim.cell,))]
    if isinstance(claim, Trend):
        return [("", (*claim.cells, *claim.minus))]
    return [(pair.at, (pair.a, pair.b)) for pair in claim.pairs]


def claim_weights(claim: Tested, measured: Mapping[str, Counts]) -> tuple[float, ...] | None:
    """Return the weights of the arms, None where the nets of a trend over depth have none to tell them apart."""
    if isinstance(claim, Value):
        return (1.0,)
    if isinstance(claim, Better):
        return (-1.0, 1.0) if METRICS[claim.metric].lower_is_better else (1.0, -1.0)
    if isinstance(claim, Ratio):
        return (-1.0, 1.0) if claim.side == "at most" else (1.0, -1.0)
    x = [_x(claim, cell, index, measured) for index, cell in enumerate(claim.cells)]
    known = [value for value in x if value is not None]
    if len(known) < len(x) or len(set(known)) < 2:
        return None
    sign = 1.0 if claim.direction == "rising" else -1.0
    own = tuple(sign * weight for weight in slope_weights(known))
    return (*own, *(-weight for weight in own)) if claim.minus else own


def _x(claim: Trend, cell: Cell, index: int, measured: Mapping[str, Counts]) -> float | None:
    if claim.x == "order":
        return index
    if claim.x == "depth":
        counts = measured.get(complexity_key(cell.model, cell.data)) or lookup(cell.model, cell.data)
        return counts.depth if counts else None
    return float(cell.axes[claim.along])


def _arm(suite: Suite, cell: Cell, metric: str, found: Mapping[tuple[str, int], RunRecord]) -> Arm:
    cell_id = cell.run(suite.protocol, 0).cell_id
    records = [found[cell_id, seed] for seed in suite.seeds if (cell_id, seed) in found]
    counted = [(record.seed, record.counted) for record in records if record.counted]
    done = [(seed, attempt) for seed, attempt in counted if metric in attempt.measured]
    finite = [
        (seed, attempt.id, attempt.measured[metric])
        for seed, attempt in done
        if math.isfinite(attempt.measured[metric])
    ]
    return Arm(
        label=f"'{suite.label(cell)}'",
        cell=cell,
        values=tuple(value for _, _, value in finite),
        seeds=tuple(seed for seed, _, _ in finite),
        attempts=tuple(attempt for _, attempt, _ in finite),
        planned=max(len(suite.seeds), suite.planned_seeds),  # seeds that "--seeds" leaves out were planned
        failed=sum(record.state == State.FAILED for record in records) + len(done) - len(finite),
        unmeasured=len(counted) - len(done),
    )


def _refused_by_fidelity(suite: Suite, claim: Tested, least: Fidelity) -> Refusal | None:
    remedy = f"runs of the protocol '{suite.reference_name}' would count"
    if least == "smoke":
        return Refusal(Outcome.NOT_RUN, "runs of smoke fidelity never count", remedy)
    if least == "scaled" and not claim.allow_scaled:
        return Refusal(Outcome.NOT_COMPARABLE, ", ".join(suite.differences), remedy)
    return None


def _found(case: Case) -> Estimate | Refusal:
    """Estimate the effect of a case, or say why it cannot be."""
    claim, arms = case.claim, case.arms
    missing = [arm for arm in arms if not arm.values]
    per_arm = " per arm" if len(arms) > 1 else ""
    if missing:
        return _without_values(claim, missing, per_arm)
    oriented = case.oriented([arm.mean for arm in arms])
    if oriented is None:
        reason = f"{METRICS[claim.metric].label} is not above zero, so there is no ratio"
        return Refusal(Outcome.INCONCLUSIVE, reason, "other values would allow one")
    effect = case.shown(oriented)
    if any(len(arm.values) < MIN_SEEDS for arm in arms):
        reason = f"it needs three seeds{per_arm}, has {listed(len(arm.values) for arm in arms)}"
        return Refusal(Outcome.INCONCLUSIVE, reason, "more seeds would allow one", effect)
    values = [arm.values for arm in arms]
    if isinstance(claim, Value):
        estimate = one_sample(values[0], claim.published)
    elif isinstance(claim, Ratio):
        estimate = log_ratio(*(values if case.weights[0] > 0 else reversed(values)))
    else:
        estimate = contrast(case.weights, values)
    reason = "no spread between seeds, so no interval can be formed"
    return estimate or Refusal(Outcome.INCONCLUSIVE, reason, "seeds with differing values would allow one", effect)


def _without_values(claim: Tested, missing: Sequence[Arm], per_arm: str) -> Refusal:
    """Say what became of the runs of arms that have no value: none, failed, or done without this measurement."""
    labels, failed = listed(arm.label for arm in missing), sum(arm.failed for arm in missing)
    unmeasured = sum(arm.unmeasured for arm in missing)
    if not unmeasured:
        reason = f"no finished run of {labels}{f' ({failed} failed)' if failed else ''}"
        return Refusal(Outcome.NOT_RUN, reason, f"three finished seeds{per_arm} would allow a test")
    metric = METRICS[claim.metric]
    lack = f"{unmeasured} done without it{f', {failed} failed' if failed else ''}"
    probe = metric.name in RESPONSE_METRICS
    remedy = (
        "'ranbench run SUITE' measures done runs" if probe else f"three seeds{per_arm} that have it would allow a test"
    )
    return Refusal(Outcome.NOT_RUN, f"no run of {labels} has a measured {metric.label} ({lack})", remedy)


def listed(items: Iterable[object]) -> str:
    """List in words: ``5 and 5``, ``3, 5 and 5``."""
    *most, last = map(str, items)
    return f"{', '.join(most)} and {last}" if most else last

"""The rules: which claims are tested, Holm over all of them, and what each verdict holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ranbench.claims.beside import beside, common_nets
from ranbench.claims.cases import TESTS, Case, ClaimCase, Refusal, claim_case
from ranbench.claims.counting import judge_count
from ranbench.claims.declaring import Version, declared_after, done_at, seeds_planned
from ranbench.claims.planning import need
from ranbench.claims.sensitivity import sensitivity_words, with_failures
from ranbench.claims.verdict import DeclaredAfter, Member, Outcome, Verdict
from ranbench.claims.wording import (
    change_words,
    deciding_words,
    effect_unit,
    missing_words,
    tested_words,
    untested_words,
)
from ranbench.counts import Counts
from ranbench.records import RunRecord
from ranbench.statistics import LEVEL, HolmStep, holm
from ranbench.suite import Better, Counted, Suite


def judge(
    suite: Suite,
    records: Sequence[RunRecord],
    measured: Mapping[str, Counts] | None = None,
    predictions: Mapping[int, bytes] | None = None,
    versions: Sequence[Version] | None = None,
) -> tuple[Verdict, ...]:
    """Judge every claim of ``suite`` by the runs of ``suite.protocol`` and ``suite.seeds`` among ``records``.

    Holm's correction runs over all declared claims that rest on runs, once for 'reproduced' and once for 'not
    reproduced'; a claim that cannot be tested counts with p = 1. Counts are exact, so claims about them are no tests
    and take no share of the level.

    Args:
        suite: the suite.
        records: runs of its cells.
        measured: counts by ``complexity_key`` of the cell; a net that is not among them is looked up in counts.json.
        predictions: predicted classes by attempt, of those that ``compared`` names; without, no nets are compared.
        versions: recorded versions of the suite, which tell whether claims and seeds were declared before the runs
            were done; without, nothing is said of it.

    Returns:
        One verdict per claim, in the order of ``suite.claims``.

    Raises:
        ValueError: two records of the same run.
    """
    found = _by_run(records)
    cases = [
        claim_case(suite, claim, found, measured or {}) for claim in suite.claims if not isinstance(claim, Counted)
    ]
    confirming = holm([case.p_confirming for case in cases])
    refuting = holm([case.p_refuting for case in cases])
    first = LEVEL / max(1, len(cases))
    order = _Order(suite, found, versions)
    tested = iter(
        [
            _Judged(suite, whole, steps, predictions or {}, first, order).verdict()
            for whole, *steps in zip(cases, confirming, refuting, strict=True)
        ]
    )
    return tuple(
        judge_count(suite, claim, measured or {}) if isinstance(claim, Counted) else next(tested)
        for claim in suite.claims
    )


def compared(suite: Suite, records: Sequence[RunRecord]) -> tuple[int, ...]:
    """List the attempts whose predictions ``judge`` compares: of each pair of cells the nets of one seed of both."""
    found = _by_run(records)
    claims = [claim for claim in suite.claims if isinstance(claim, Better)]
    cases = [case for claim in claims for case in claim_case(suite, claim, found, {}).cases]
    nets = [nets for case in cases if (nets := common_nets(case))]
    return tuple(dict.fromkeys(attempt for _, *attempts in nets for attempt in attempts))


def _by_run(records: Sequence[RunRecord]) -> dict[tuple[str, int], RunRecord]:
    found = {(record.cell_id, record.seed): record for record in records}
    if len(found) != len(records):
        raise ValueError("two records of the same run")
    return found


class _Order:
    """What came first: runs, or the claims and seeds that were declared for them."""

    def __init__(self, suite: Suite, found: Mapping[tuple[str, int], RunRecord], versions: Sequence[Version] | None):
        self.suite = suite
        self.versions = versions
        asked = [found.get((spec.cell_id, spec.seed)) for spec in suite.runs()] if versions else []
        times = [moment for record in asked if record and (moment := done_at(record))]
        self.planned_seeds = seeds_planned(suite, versions or (), times)
        self._done_at = {record.counted.id: done_at(record) for record in found.values() if record.counted}

    def declared_after(self, whole: ClaimCase) -> DeclaredAfter | None:
        """Return what is known where runs of a claim were done before it was declared as it is now."""
        if self.versions is None or whole.refusal:
            return None
        attempts = dict.fromkeys(attempt for arm in whole.arms for attempt in arm.attempts)
        times = [moment for attempt in attempts if (moment := self._done_at[attempt])]
        return declared_after(self.suite, whole.claim, self.versions, times)


class _Judged:
    """One claim with the steps that Holm gives it."""

    def __init__(  # noqa: PLR0917 - private, called once
        self,
        suite: Suite,
        whole: ClaimCase,
        steps: Sequence[HolmStep],
        predictions: Mapping[int, bytes],
        first_level: float,
        order: _Order,
    ):
        self.suite = suite
        self.whole = whole
        self.steps = steps
        self.predictions = predictions
        self.first_level = first_level
        self.order = order

    def verdict(self) -> Verdict:
        """Make the verdict."""
        whole, claim = self.whole, self.whole.claim
        outcome, step = self._decide()
        level = step.level if step and whole.tested else self.first_level
        blank = Verdict(
            claim=claim,
            outcome=outcome,
            effect=None,
            low=None,
            high=None,
            n=tuple(len(arm.values) for arm in whole.arms),
            planned=tuple(arm.planned for arm in whole.arms),
            failed=sum(arm.failed for arm in whole.arms),
            level=None,
            p=None,
            test=TESTS[claim.kind],
            fidelity=whole.fidelity,
            unit=effect_unit(claim),
            sentence="",
            reason=None,
            sensitivity=with_failures(whole),
            adaptive=self._adaptive(),
            declared_after=self.order.declared_after(whole),
        )
        if len(whole.cases) > 1 and not whole.refusal:
            blank = replace(blank, members=tuple(self._member(case, level) for case in whole.cases))
        elif not whole.refusal:
            refuted = outcome is Outcome.NOT_REPRODUCED
            blank = replace(blank, beside=beside(self.suite, whole.cases[0], level, self.predictions, refuted=refuted))
        lines = (*blank.beside.lines, *sensitivity_words(blank.sensitivity, whole))
        blank = replace(blank, lines=lines)
        return self._tested(blank, step) if step else self._untested(blank)

    def _decide(self) -> tuple[Outcome, HolmStep | None]:
        """Return the outcome, and the step that holds its p and the level of its bounds; None without a test.

        The order of comparisons does not matter: one that fails is enough, whatever is missing; one that has runs keeps
        the claim from being not run.
        """
        confirming, refuting = self.steps
        if refuting.rejected:
            return Outcome.NOT_REPRODUCED, refuting
        if confirming.rejected:
            return Outcome.REPRODUCED, confirming
        both = replace(confirming, level=min(confirming.level, refuting.level))
        refused = {refusal.outcome for refusal in self._refusals()}
        if not self.whole.tested and len(refused) == 1:
            return refused.pop(), None
        return Outcome.INCONCLUSIVE, both if self.whole.tested else None

    def _refusals(self) -> list[Refusal]:
        if self.whole.refusal:
            return [self.whole.refusal]
        return [case.found for case in self.whole.cases if isinstance(case.found, Refusal)]

    def _adaptive(self) -> tuple[int, ...]:
        counted = {seed for arm in self.whole.arms for seed in arm.seeds}
        return tuple(sorted(seed for seed in counted if seed >= self.order.planned_seeds))

    def _head(self, verdict: Verdict) -> str:
        adaptive, late = verdict.adaptive, verdict.declared_after
        scaled = self.whole.fidelity == "scaled" and self.whole.claim.allow_scaled
        fidelity = f" at scaled fidelity ({', '.join(self.suite.differences)})" if scaled else ""
        looked = f" with {len(adaptive)} adaptive seed{'s' * (len(adaptive) > 1)} (added after looking)"
        declared = f", {late.words}" if late else ""
        said = verdict.outcome.capitalize()
        lost = not self.whole.refusal and any(
            arm.failed and not arm.values and not arm.unmeasured for arm in self.whole.arms
        )
        if verdict.outcome is Outcome.NOT_RUN and lost:
            said = "Not run to the end"
        return f"{said}{fidelity}{looked if adaptive else ''}{declared}"

    def _untested(self, blank: Verdict) -> Verdict:
        cases, head = self.whole.cases, self._head(blank)
        if len(cases) > 1 and not self.whole.refusal:
            words = missing_words(self.whole)
            return replace(blank, sentence=f"{head}: {words}.", reason=words)
        [first] = self._refusals()
        words = untested_words(cases[0], first)
        return replace(blank, effect=first.effect, sentence=f"{head}: {words}.", reason=first.reason)

    def _tested(self, blank: Verdict, step: HolmStep) -> Verdict:
        """Speak of one comparison: effect, bounds, n, test and what would change it are all its own."""
        whole, case = self.whole, self.whole.deciding
        assert not isinstance(case.found, Refusal)
        effect = case.shown(case.found.effect)
        bounds = _shown_bounds(case, step.level, len(whole.cases))
        assert bounds is not None
        complete = len(whole.tested) == len(whole.cases)
        p = step.p if complete or blank.outcome is Outcome.NOT_REPRODUCED else None
        wanted = need(self.suite, whole, step.level) if complete and blank.outcome is Outcome.INCONCLUSIVE else None
        parts = [
            *([] if p is not None else [missing_words(whole)]),
            f"{deciding_words(whole)}{tested_words(case, effect, bounds, step.level, p, outcome=blank.outcome)}",
            *([] if p is None else [change_words(whole, blank.outcome, wanted)]),
            *([] if complete or p is None else [missing_words(whole)]),
        ]
        return replace(
            blank,
            effect=effect,
            low=bounds[0],
            high=bounds[1],
            level=step.level,
            p=p,
            sentence=f"{self._head(blank)}: {'; '.join(parts)}.",
            reason=missing_words(whole) if p is None else None,
            need=wanted,
        )

    def _member(self, case: Case, level: float) -> Member:
        outcome = outcome_at(case, level, len(self.whole.cases))
        found = case.found
        refused = isinstance(found, Refusal)
        low, high = _shown_bounds(case, level, len(self.whole.cases)) or (None, None)
        return Member(
            at=case.at,
            outcome=outcome,
            effect=found.effect if isinstance(found, Refusal) else case.shown(found.effect),
            low=low,
            high=high,
            n=tuple(len(arm.values) for arm in case.arms),
            failed=sum(arm.failed for arm in case.arms),
            reason=found.reason if isinstance(found, Refusal) else None,
            beside=beside(
                self.suite, case, level, self.predictions, refuted=not refused and outcome is Outcome.NOT_REPRODUCED
            ),
        )


def outcome_at(case: Case, level: float, several: int) -> Outcome:
    """Return what one comparison says alone, at a given level: of ``several``, each is refuted at its share."""
    if isinstance(case.found, Refusal):
        return case.found.outcome
    if case.p_confirming < level:
        return Outcome.REPRODUCED
    return Outcome.NOT_REPRODUCED if case.p_refuting < level / several else Outcome.INCONCLUSIVE


def _shown_bounds(case: Case, level: float, several: int) -> tuple[float, float] | None:
    bounds = case.bounds(level, level / several)
    if bounds is None:
        return None
    low, high = sorted(case.shown(bound) for bound in bounds)
    return low, high

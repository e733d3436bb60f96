"""Claims about counts: exact, without runs, without a test."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ranbench.claims.verdict import Outcome, Verdict
from ranbench.claims.wording import signed
from ranbench.counts import Counts, lookup, size_of
from ranbench.records import SIZE_METRICS
from ranbench.spec import complexity_key
from ranbench.suite import Counted, Suite, count_words, size_unit


def judge_count(suite: Suite, claim: Counted, measured: Mapping[str, Counts]) -> Verdict:
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
    unit, label = size_unit(claim.metric, ours), suite.label(claim.cell)
    if ours == claim.published:
        compared = f"has exactly {count_words(ours)} {unit}, as published"
    else:
        exactly = "" if count_words(ours) == f"{ours:,}" else f" ({ours:,})"
        printed = count_words(claim.published, claim.digits)
        off = f"{signed(100 * (ours - claim.published) / claim.published)} %"
        compared = f"has {count_words(ours)} {unit}{exactly}, {off} from the published {printed}"
    within = "within" if outcome is Outcome.REPRODUCED else "outside"
    tolerance = (
        f", {within} the tolerance of {claim.tolerance_pct:g} %" if claim.tolerance_pct or within == "outside" else ""
    )
    return f"{outcome.capitalize()}: '{label}' {compared}{tolerance} ({test})."

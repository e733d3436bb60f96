"""What is printed beside a verdict and decides nothing, as numbers and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ranbench.claims.cases import ERRORS, Case, listed
from ranbench.claims.verdict import Beside, NetPair, NewRun, Sampled
from ranbench.claims.wording import p_words
from ranbench.records import METRICS, classes_in
from ranbench.statistics import (
    LEVEL,
    Permutation,
    disagreement,
    permutation,
    prediction,
    sampling_interval,
    smallest_p,
)
from ranbench.suite import Better, Ratio, Suite, Value


def beside(suite: Suite, case: Case, level: float, predictions: Mapping[int, bytes], *, refuted: bool) -> Beside:
    """Compute all that stands beside one comparison.

    Args:
        suite: the suite.
        case: the comparison.
        level: at which it was judged.
        predictions: predicted classes by attempt.
        refuted: whether it was decided as not reproduced, so that a permutation p is of that direction.
    """
    permuted = _permuted(case, level, refuted=refuted)
    new_run = _new_run(case)
    sampling = _sampled(suite, case)
    nets = _nets(case, predictions)
    lines = (
        *([_permuted_words(permuted)] if permuted else ()),
        *([_new_run_words(case, new_run)] if new_run else ()),
        *([_sampled_words(sampling)] if sampling else ()),
        *([_nets_words(case, nets)] if nets else ()),
    )
    return Beside(permuted, new_run, sampling, nets, lines)


def _permuted(case: Case, level: float, *, refuted: bool) -> Permutation | None:
    """Permute the values of two arms, shifted or scaled by the threshold, where p could come under the level."""
    claim, arms = case.claim, case.arms
    if not isinstance(claim, Better | Ratio) or not all(arm.values for arm in arms):
        return None
    if smallest_p(*(len(arm.values) for arm in arms)) >= level:
        return None
    a, b = (list(arm.values) for arm in arms)
    if isinstance(claim, Ratio):
        b = [claim.bound * value for value in b]
    plus, minus = (a, b) if case.weights[0] > 0 else (b, a)
    if isinstance(claim, Better):
        plus = [value - claim.min_effect for value in plus]
    return permutation(minus, plus) if refuted else permutation(plus, minus)


def _permuted_words(found: Permutation) -> str:
    return f"a permutation test gives p {p_words(found.p)} (unadjusted; at best {found.smallest:.2g})"


def _new_run(case: Case) -> NewRun | None:
    claim, values = case.claim, case.arms[0].values
    if not isinstance(claim, Value) or len(values) < 2:
        return None
    found = prediction(values)
    if found is None:
        return None
    low, high = found.interval(LEVEL)
    most = 100.0 if METRICS[claim.metric].unit == "percent" else math.inf
    low, high = max(low, 0.0), min(high, most)  # no metric is below zero
    return NewRun(low, high, claim.published, low <= claim.published <= high)


def _new_run_words(case: Case, found: NewRun) -> str:
    holds = "holds" if found.holds_published else "does not hold"
    where = f"{found.low:.4g} to {found.high:.4g} {METRICS[case.claim.metric].unit}"
    return (
        f"one new run would lie in {where} (95 % prediction interval), which {holds} the published {found.published:g}"
    )


def _sampled(suite: Suite, case: Case) -> tuple[Sampled, ...]:
    """Form the binomial interval of every arm that has a mean error."""
    if case.claim.metric not in ERRORS:
        return ()
    result = []
    for arm in case.arms:
        if arm.values:
            part, images = suite.protocol.evaluation.images, arm.cell.data.test_images
            images = images if part is None else min(part, images)
            low, high = sampling_interval(arm.mean / 100, images)
            result.append(Sampled(arm.label, images, 100 * low, 100 * high))
    return tuple(result)


def _sampled_words(found: tuple[Sampled, ...]) -> str:
    said = listed(f"{one.label} at {one.low:.2f} to {one.high:.2f}" for one in found)
    images = " or ".join(f"{count:,}" for count in dict.fromkeys(one.images for one in found))
    intervals = "interval" if len(found) == 1 else "intervals"
    return f"the {images} test images alone, whatever the seeds, leave {said} percent (95 % binomial {intervals})"


def common_nets(case: Case) -> tuple[int, int, int] | None:
    """Return the lowest seed that both arms have, with the attempt of each; None where nets cannot be compared."""
    if not isinstance(case.claim, Better) or case.claim.metric != "error_pct":
        return None
    a, b = case.arms
    same_images = a.cell.data == b.cell.data
    both = sorted(set(a.seeds) & set(b.seeds))
    if not same_images or not both:
        return None
    return both[0], a.attempts[a.seeds.index(both[0])], b.attempts[b.seeds.index(both[0])]


def _nets(case: Case, predictions: Mapping[int, bytes]) -> NetPair | None:
    found = common_nets(case)
    if found is None or not all(attempt in predictions for attempt in found[1:]):
        return None
    seed, *attempts = found
    num_classes = case.arms[0].cell.data.info.num_classes
    classes = [classes_in(predictions[attempt], num_classes) for attempt in attempts]
    if len(classes[0]) != len(classes[1]) or not classes[0]:
        return None
    errors = [arm.values[arm.seeds.index(seed)] for arm in case.arms]
    wrong_a, wrong_b = (round(error * len(classes[0]) / 100) for error in errors)
    try:
        return NetPair(seed, disagreement(classes[0], classes[1], wrong_a, wrong_b))
    except ValueError:  # predictions that cannot have these errors: an altered bundle, for instance
        return None


def _nets_words(case: Case, nets: NetPair) -> str:
    found, labels = nets.found, [arm.label for arm in case.arms]
    better, more = (labels[0], found.more_right) if found.more_right >= 0 else (labels[1], -found.more_right)
    right = f"{better} is right on {more:,} more" if more else "both are right on as many"
    p = f"at most {found.p_at_most:.2g}" if found.p_at_most >= 0.0001 else "below 0.0001"
    return (
        f"the two nets of seed {nets.seed} differ on {found.differ:,} of {found.images:,} test images, and {right}: "
        f"McNemar's p is {p}, for these two nets alone"
    )

"""A reference protocol made shorter, by a number of iterations or by a factor."""

from __future__ import annotations

from collections.abc import Mapping

from ranbench.spec import OneCycle, Protocol, Schedule, Steps
from ranbench.suite.form import Reduction

EVALUATIONS = 10  # of a run by factor at most, unless its file says otherwise

Numbers = Mapping[str, int | None]


def reduced(reference: Protocol, reduction: Reduction, factor: float | None = None) -> Protocol:
    """Return ``reference`` shortened as the reduction says, with ``factor`` in place of its own where one is given.

    Raises:
        ValueError: what is left of the schedule does not hold; one line.
    """
    evaluation = {} if reduction.evaluation is None else reduction.evaluation.model_dump()
    if reduction.iterations is not None:
        return _shortened(reference, reduction.iterations, evaluation)
    share = reduction.factor if factor is None else factor
    assert share is not None  # a reduction has one of the two
    return _scaled(reference, share, evaluation)


def _shortened(reference: Protocol, iterations: int, evaluation: Numbers) -> Protocol:
    """Cut to so many iterations; drops and warm-up keep their share of the whole, as far as there is room for them."""
    schedule, ratio = reference.schedule, iterations / reference.iterations
    if isinstance(schedule, Steps):
        scaled = (max(1, round(drop * ratio)) for drop in schedule.drops)
        schedule = schedule.model_copy(update={"drops": tuple(sorted({drop for drop in scaled if drop < iterations}))})
    return _with(reference, iterations, _warmed(schedule, ratio, iterations), evaluation)


def _scaled(reference: Protocol, factor: float, evaluation: Numbers) -> Protocol:
    """Multiply every number of iterations by ``factor``; nothing of the schedule may be lost by it."""
    iterations = round(reference.iterations * factor)
    if iterations == 0:
        raise ValueError(f"factor {factor:g} leaves none of {reference.iterations} iterations; use a larger one")
    schedule = reference.schedule
    if isinstance(schedule, Steps):
        drops = tuple(round(drop * factor) for drop in schedule.drops)
        if len(set(drops)) < len(drops) or not all(0 < drop < iterations for drop in drops):
            raise ValueError(
                f"factor {factor:g} leaves {iterations} iterations with drops at {', '.join(map(str, drops))}, "
                "which are not distinct and inside; use a larger one"
            )
        schedule = schedule.model_copy(update={"drops": drops})
    # a shorter run is evaluated less often too, or it would do little else
    every = max(1, round(reference.evaluation.every * factor), -(-iterations // EVALUATIONS))
    return _with(reference, iterations, _warmed(schedule, factor, iterations), {"every": every, **evaluation})


def _warmed(schedule: Schedule, ratio: float, iterations: int) -> Schedule:
    """Scale the warm-up, to one iteration at least; a run of one iteration has no room for it."""
    if isinstance(schedule, OneCycle) or schedule.warm_up is None:
        return schedule
    scaled = schedule.warm_up.model_copy(update={"iterations": max(1, round(schedule.warm_up.iterations * ratio))})
    return schedule.model_copy(update={"warm_up": scaled if scaled.iterations < iterations else None})


def _with(reference: Protocol, iterations: int, schedule: Schedule, evaluation: Numbers) -> Protocol:
    """Put the parts together; the size of the images of an evaluation stays that of the reference."""
    return reference.model_copy(
        update={
            "iterations": iterations,
            "schedule": schedule,
            "evaluation": reference.evaluation.model_copy(update=evaluation),
        }
    )

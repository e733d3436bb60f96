"""What every attempt holds, whoever wrote it: one rule for the audit, for exports and for merges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ranbench.records import State

# What every done attempt has.
FINAL_METRICS = ("error_pct", "loss", "best_error_pct", "best_iteration")


# Series of which every done attempt has a point.
SERIES = ("train_loss", "test_error_pct", "test_loss")


def broken(
    state: str,
    step: int,
    iterations: int,
    metrics: Mapping[str, Any],
    *,
    error: str | None = None,
    resumes: int = 0,
    predicted: bool = False,
) -> Iterator[str]:
    """Tell what does not hold of an attempt and its final metrics, of which None and NaN are not-a-number.

    An error is of a failed attempt, or what interrupted another one, which has been resumed if it goes on.
    """
    if state == State.DONE.value:
        lacking = [metric for metric in FINAL_METRICS if _is_lacking(metrics.get(metric))]
        if lacking:
            yield f"is done without {', '.join(lacking)}"
        if step != iterations:
            yield f"is done at iteration {step:,} of {iterations:,}"
    else:
        if metrics:
            yield f"has a result, and is {state}"
        if predicted:
            yield f"has predictions, and is {state}"
    if error is not None and state in (State.RUNNING.value, State.DONE.value) and not resumes:
        yield f"has an error, and is {state}"


def _is_lacking(value: Any) -> bool:
    return value is None or value != value  # noqa: PLR0124 - NaN, which a server keeps

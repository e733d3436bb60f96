"""What every attempt holds, whoever wrote it: one rule for the audit, for exports and for merges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ranbench.records import State

# What every done attempt has.
FINAL_METRICS = ("error_pct", "loss", "best_error_pct", "best_iteration")


def broken(state: str, step: int, iterations: int, metrics: Mapping[str, Any]) -> Iterator[str]:
    """Tell what does not hold of an attempt and its final metrics, of which None is not-a-number."""
    if state == State.DONE.value:
        lacking = [metric for metric in FINAL_METRICS if metrics.get(metric) is None]
        if lacking:
            yield f"is done without {', '.join(lacking)}"
        if step != iterations:
            yield f"is done at iteration {step:,} of {iterations:,}"
    elif metrics:
        yield f"has a result, and is {state}"

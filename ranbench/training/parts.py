"""Marks of the parts of a step, for a profile. Unless one is being made they do nothing and cost next to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

from torch.profiler import record_function

Part = Literal["draw", "augmentation", "forward", "backward", "update"]
PREFIX = "step/"  # of a mark's name in a trace, so that it is told from an operator

_NOTHING = nullcontext()
_marking: list[None] = []  # not empty while a profile is made; torch's own marks cost microseconds at all times


def part(name: Part) -> AbstractContextManager[object]:
    """Mark what stands inside as a part of the step."""
    return record_function(PREFIX + name) if _marking else _NOTHING


@contextmanager
def marked() -> Iterator[None]:
    """Let the marks of this process be seen."""
    _marking.append(None)
    try:
        yield
    finally:
        _marking.pop()

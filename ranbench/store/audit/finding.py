"""One line of an audit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """A ``fault``: the database does not hold what it must. A ``note``: worth knowing, and nothing is lost by it."""

    level: Literal["fault", "note"]
    about: str
    text: str


def fault(about: str, text: str) -> Finding:
    """Make a finding that is a fault."""
    return Finding("fault", about, text)


def note(about: str, text: str) -> Finding:
    """Make a finding that is none."""
    return Finding("note", about, text)

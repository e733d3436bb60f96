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
    return Finding("fault", about, _on_one_line(text))


def note(about: str, text: str) -> Finding:
    """Make a finding that is none."""
    return Finding("note", about, _on_one_line(text))


def _on_one_line(text: str) -> str:
    """Write what cannot be printed as Python does: a record may hold anything, and a terminal obeys some of it."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)

"""One line of an examination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, and where it is not well, what to do.

    ``warning``: ranbench works, with a risk or a loss that is named. ``problem``: it cannot be used as it is.
    """

    about: str
    level: Literal["ok", "warning", "problem"]
    text: str
    remedy: str | None = None


def ok(about: str, text: str) -> Finding:
    """Make a finding that asks for nothing."""
    return Finding(about, "ok", text)


def warning(about: str, text: str, remedy: str) -> Finding:
    """Make a finding about a risk."""
    return Finding(about, "warning", text, remedy)


def problem(about: str, text: str, remedy: str) -> Finding:
    """Make a finding about what stops the work."""
    return Finding(about, "problem", text, remedy)

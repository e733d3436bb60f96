"""What others may see of what was recorded. It depends on nothing but the record: not on who exports it, nor where."""

from __future__ import annotations

from typing import Any

from ranbench.records import Environment

# Provenance of the machine that is nobody else's business.
PRIVATE = ("host", "user", "command", "patch")


def public(environment: Environment) -> dict[str, Any]:
    """Return what a bundle says of an environment."""
    return {name: value for name, value in environment.as_dict().items() if name not in PRIVATE}

"""ranbench: reproduces the tables of papers and keeps what it measured. Importing this needs no torch."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["Store", "__version__", "load_suite", "report", "run"]

_HOMES = {
    "Store": "ranbench.store",
    "load_suite": "ranbench.suite",
    "report": "ranbench.report",
    "run": "ranbench.runner",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ranbench' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)

"""What others may see of what was recorded. It depends on nothing but the record: not on who exports it, nor where."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ranbench.masking import mask_forms
from ranbench.records import Environment

# Provenance of the machine that is nobody else's business.
PRIVATE = ("host", "user", "command", "patch")
ROUNDS = 16  # random texts needed four

_QUOTED_PATH = re.compile(r"([\"'])(?:[A-Za-z]:)?[/\\](?:[^\"'\n]*[/\\])?([^\"'/\\\n]+)\1")
_PATH = re.compile(r"(?<![\w/.:*~<])(?:[A-Za-z]:\\|/)(?:[^\s/\\'\":,;]+[/\\])*([^\s/\\'\":,;]+)")


def public(environment: Environment) -> dict[str, Any]:
    """Return what a bundle says of an environment."""
    return {name: value for name, value in environment.as_dict().items() if name not in PRIVATE}


def without_paths(text: str) -> str:
    """Return ``text`` with absolute paths cut down to their last part, and without secrets."""
    return _settled(text, lambda text: mask_forms(_PATH.sub(r"\1", _QUOTED_PATH.sub(r"\1\2\1", text))))


def without_secrets(text: str) -> str:
    """Return ``text`` without secrets."""
    return _settled(text, mask_forms)


def _settled(text: str, change: Callable[[str], str]) -> str:
    """Change until nothing changes: what went through a bundle must look the same when it is exported again."""
    text = text.replace("\0", "\\0")  # which PostgreSQL cannot keep
    for _ in range(ROUNDS):
        before, text = text, change(text)
        if text == before:
            break
    return text

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

# Where an absolute path begins: at a root, a drive, a share, a home, or as the URL of a file or of a server.
_ROOT = r"(?:file:/+|sqlite:/+|[A-Za-z]:[\\/]+|~[\w.-]*/+|/+|\\+(?=[^\s\\/'\":]+[\\/]))"
_QUOTED_PATH = re.compile(rf"([\"'])({_ROOT}(?=[^\s\"'])[^\"'\n]*)\1")
_PATH = re.compile(
    r"(?P<site>\bhttps?://[^\s'\"<>]*)|(?P<server>\b[A-Za-z][\w+.-]*(?<!file)(?<!sqlite)://)[^\s'\"<>]+"
    rf"|(?:(?<![\w/.*~\\])|(?<=[\s\"'=(]-[A-Za-z])|(?<=^-[A-Za-z]))(?:{_ROOT})[^\s'\":,;<>|`\\/][^\s'\":,;<>|`]*",
    re.MULTILINE,
)
_FILE = re.compile(r"\w[\w +-]*(?:\.\w+)*\.[A-Za-z0-9]\w{0,7}")
_HOMES = re.compile(r"(?:[A-Za-z]:)?[\\/]+(?:home|Users)[\\/]+[^\\/]*", re.IGNORECASE)
CUT = "..."


def public(environment: Environment) -> dict[str, Any]:
    """Return what a bundle says of an environment."""
    return {name: value for name, value in environment.as_dict().items() if name not in PRIVATE}


def without_paths(text: str) -> str:
    """Return ``text`` with absolute paths cut down to the names of their files, and without secrets.

    Of a path that does not look like a file's nothing is kept, for its last part may be the name of a user.
    """
    return _settled(text, _without_paths)


def _without_paths(text: str) -> str:
    text = _QUOTED_PATH.sub(lambda match: f"{match[1]}{_last(match[2])}{match[1]}", mask_forms(text))
    return mask_forms(_PATH.sub(_cut, text))


def _cut(match: re.Match[str]) -> str:
    if match["site"]:
        return match[0]
    if match["server"]:
        return f"{match['server']}{CUT}"
    path = match[0].rstrip(")]}.")
    return _last(path) + match[0][len(path) :]


def _last(path: str) -> str:
    name = re.split(r"[\\/]", path)[-1]
    return name if _FILE.fullmatch(name) and not _HOMES.fullmatch(path) else CUT


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

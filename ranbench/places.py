"""Text that others may see: without paths of a machine, and without servers and their users. Text in, text out."""

from __future__ import annotations

import re
from collections.abc import Callable

from ranbench.masking import mask_forms

ROUNDS = 16  # random texts needed four

# Where an absolute path begins: at a root, a drive, a share, a home, or as the URL of a file or of a server.
_ROOT = r"(?:file:/+|sqlite:/+|[A-Za-z]:[\\/]+|~[\w.-]*/+|/+|\\+(?=[^\s\\/'\":]+[\\/]))"
_QUOTED_PATH = re.compile(rf"([\"'])({_ROOT}(?=[^\s\"'])[^\"'\n]*)\1")
_PATH = re.compile(
    r"(?P<site>\bhttps?://[^\s'\"<>]*)|(?P<server>\b[A-Za-z][\w+.-]*(?<!file)(?<!sqlite)://)[^\s'\"<>]+"
    rf"|(?:(?<![\w/.*~\\])|(?<=[\s\"'=(]-[A-Za-z])|(?<=^-[A-Za-z]))(?:{_ROOT})[^\s'\":,;<>|`\\/][^\s'\":,;<>|`]*",
    re.MULTILINE,
)
# A folder with spaces in its name. What follows a file's name is no part of its path.
_SPACED = re.compile(
    r"(?P<url>\b[A-Za-z][\w+.-]*(?<!file)(?<!sqlite)://[^\s'\"<>]*)"
    rf"|(?<![\w/.*~\\]){_ROOT}(?:[^\s'\":,;<>|`\\/]+[\\/]+)*"
    r"[^\s'\":,;<>|`\\/.]+(?: [^\s'\":,;<>|`\\/]+){1,3}(?=[\\/])"
)
_FILE = re.compile(r"\w[\w +-]*(?:\.\w+)*\.[A-Za-z0-9]\w{0,7}")
_HOMES = re.compile(r"(?:[A-Za-z]:)?[\\/]+(?:home|Users)[\\/]+[^\\/]*", re.IGNORECASE)
CUT = "..."
_SERVERS = (
    re.compile(
        r"(\b(?:server|host)(?: name)?(?: at)? \"?)(?=\S*[.\d\"])[^\s\",;]+(\"?)(?: \([0-9A-Fa-f.:]+\))?"  # libpq's
    ),
    re.compile(r"(\b(?:user|role|owner)(?: name)? \")[^\"]*(\")", re.IGNORECASE),
    re.compile(r"(\b(?:host|hostaddr|user|username|server)=)(?:'[^']*'|\"[^\"]*\"|[^\s&;,'\"]+)()", re.IGNORECASE),
    re.compile(r"()[\w.+-]+@[\w-][\w.-]*()"),  # mail, or a user of a machine
    re.compile(r"()(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\w)()"),
)


def without_paths(text: str) -> str:
    """Return ``text`` with absolute paths cut down to the names of their files, and without secrets.

    Of a path that does not look like a file's nothing is kept, for its last part may be the name of a user.
    """
    return _settled(text, _without_paths)


def _without_paths(text: str) -> str:
    text = _QUOTED_PATH.sub(lambda match: f"{match[1]}{_last(match[2])}{match[1]}", mask_forms(text))
    return mask_forms(_PATH.sub(_cut, _joined(text)))


def _joined(text: str) -> str:
    """Take the spaces out of the names of folders in paths, so that no part of a path is left behind one."""
    for _ in range(ROUNDS):
        before, text = text, _SPACED.sub(lambda match: match["url"] or match[0].replace(" ", ""), text)
        if text == before:
            break
    return text


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


def without_places(text: str) -> str:
    """Return ``text`` as a page shows it: also without servers, their users and addresses of mail."""
    text = without_paths(text)
    for pattern in _SERVERS:
        text = pattern.sub(rf"\1{CUT}\2", text)
    return text

"""Passwords and tokens in text that is stored, printed or passed on are replaced by ``***``. Text in, text out.

Found are: passwords of URLs, tokens whose form is known (of GitHub, Hugging Face, AWS, Slack and others), private keys,
values that a name calls a secret (``--token x``, ``API_KEY=x``, ``password: "x"``), and whatever value an environment
variable of such a name has here. What has none of these forms cannot be told from other text.
"""

from __future__ import annotations

import os
import re
from functools import cache
from urllib.parse import unquote

MASK = "***"
SHORTEST = 6  # a shorter value of an environment variable would mask ordinary words

_NAMES = r"(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|credentials?)"


def mask(text: str) -> str:
    """Return ``text`` without the secrets that can be found in it."""
    for value in _of_environment():
        text = text.replace(value, MASK)
    return mask_forms(text)


def mask_forms(text: str) -> str:
    """Return ``text`` without the secrets whose form is known: the same text whoever asks, wherever."""
    for pattern, replacement in _patterns():
        text = pattern.sub(replacement, text)
    return text


def mask_url(url: str) -> str:
    """Return the URL of a database without its passwords, also where it is none that can be parsed."""
    before, at, after = url.rpartition("@")
    if at:
        scheme = re.match(r"[\w+.-]+:/+", before)
        start = scheme.end() if scheme else 0
        user, colon, _ = before[start:].partition(":")
        before = f"{before[:start]}{user}{colon}{MASK if colon else ''}"
    head, question, query = f"{before}{at}{after}".partition("?")
    options = [
        f"{name}={MASK}" if equals and re.search(_NAMES, unquote(name), re.IGNORECASE) else f"{name}{equals}{value}"
        for name, equals, value in (part.partition("=") for part in query.split("&"))
    ]
    return f"{head}{question}{'&'.join(options)}"


@cache  # and not at import: compiling them takes longer than most commands need for anything else
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    after = rf"\1{MASK}"
    return (
        (re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END|\Z)", re.DOTALL), rf"\1{MASK}\2"),
        # In a URL, user and password may hold a slash, and an @ that was not escaped; a port is none.
        (re.compile(r"(:/{1,2}[^:\s'\"`<>]*:)(?!\d+/)[^\s'\"`<>]*@"), rf"\1{MASK}@"),
        (re.compile(r"(https?://)[^/:@\s'\"]{16,}@"), rf"\1{MASK}@"),  # a token in the place of a user
        (re.compile(rf"([?&]\w*{_NAMES}=)[^&\s'\"]+", re.IGNORECASE), after),
        (
            re.compile(rf"(?<!\w)(--?[\w-]*{_NAMES}[\w-]*(?:\s+|=))('[^']*'|\"[^\"]*\"|[^\s'\"]+)", re.IGNORECASE),
            after,
        ),
        (re.compile(r"(\b(?:bearer|basic|authorization:\s*token)\s+)[\w.+/=-]{8,}", re.IGNORECASE), after),
        # A setting of a shell, whatever its value.
        (re.compile(r"(\b[A-Z_]*(?:PASSWORD|PASSWD|PASS|SECRET|TOKEN|API_KEY|ACCESS_KEY)=)[^\s'\"]+"), after),
        # Without quotes, only what mixes letters and digits: `token = new_token` is code.
        (
            re.compile(
                rf"({_NAMES}[\w-]*\s*[:=]\s*)(?=[\w.+/-]*\d)(?=[\w.+/-]*[a-z])[\w+/.-]{{6,}}=*(?![\w(\[])",
                re.IGNORECASE,
            ),
            after,
        ),
        (
            re.compile(rf"({_NAMES}[\w-]*[\"']?\s*[:=]\s*)([\"'])(?!\2)[^\"'\n]+\2", re.IGNORECASE),
            rf"\1\2{MASK}\2",
        ),
        (
            re.compile(
                r"\b(?:gh[oprsu]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{16,}|sk-[\w-]{16,}"
                r"|sk_live_\w{12,}|(?:AKIA|ASIA)[0-9A-Z]{16}|xox[abeoprs]-[\w-]{10,}|AIza[\w-]{30,}"
                r"|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{30,}|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,})"
            ),
            MASK,
        ),
    )


def _of_environment() -> list[str]:
    """Values of environment variables that are called secrets, the longest first."""
    found = {
        value
        for name, value in os.environ.items()
        if len(value) >= SHORTEST and re.search(_NAMES, name, re.IGNORECASE) and not os.path.exists(value)  # noqa: PTH110 - may be no path
    }
    return sorted(found, key=len, reverse=True)

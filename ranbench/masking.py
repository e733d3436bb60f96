"""Passwords and tokens in text that is stored, printed or passed on are replaced by ``***``. Text in, text out.

Found are: passwords of URLs, tokens whose form is known (of GitHub, Hugging Face, AWS, Slack and others), private keys,
values that a name calls a secret (``--token x``, ``API_KEY=x``, ``password: "x"``), and whatever value an environment
variable of such a name has here. What has none of these forms cannot be told from other text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import cache
from urllib.parse import unquote

MASK = "***"
SHORTEST = 6  # a shorter value of an environment variable would mask ordinary words

_NAMES = (
    r"(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?"
    r"|(?<![a-z])(?:pass|auth)(?![a-z]))"
)
# What a shell or a file of settings gives a value to.
_VARIABLE = (
    r"(?<!\w)[A-Z0-9_]*(?:PASSWORD|PASSWD|PASSPHRASE|PWD|SECRET|TOKEN|(?:API|ACCESS|PRIVATE)_?KEY|CREDENTIALS?"
    r"|(?<![A-Z])(?:PASS|AUTH)(?![A-Z]))(?:_[A-Z0-9_]*)?="
)
# A word of a shell: in quotes, as shlex writes quotes within quotes too, or without.
_WORD = r"(?:'[^']*'(?:\"'\"'[^']*')*|\"(?:\\.|[^\"\\])*\"|[^\s'\"]+)"
# Between a name and its value: a line may end there, also one of a diff.
_GAP = r"(?>\s*\\?\s*)(?:(?<=\n)[+-]\s*)?"
_TYPE = r"(?:\s*:\s*[\w.\[\]| ]{1,40}?)?"
# A name to which code gives a value: a variable, a key of a mapping, of an environment for instance.
_GIVEN = rf"{_NAMES}[\w-]*(?:[\"']\]?\s*:|[\"']?\]?{_TYPE}\s*=){_GAP}"
_QUOTED = r"([\"'])(?!\2)(?:\\.|(?!\2)[^\n\\])+\2"
_STRING = r"[bruf]{0,2}(?:'(?:\\.|[^'\n\\])+'|\"(?:\\.|[^\"\n\\])+\")"
_DATABASES = r"(?:postgres(?:ql)?|sqlite|mysql|mariadb|oracle|mssql)(?:\+\w+)?"

Replacement = str | Callable[[re.Match[str]], str]


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
    """Return what was given as a URL of a database without its secrets, whatever its form.

    Whatever stands between the user and the last @ is a password: user and password may hold an @ themselves.
    """
    if not url.lower().startswith("sqlite:///"):
        url = re.sub(rf"(?is)\A((?>(?:[^:]*://|{_DATABASES}:/*)?)[^:]*:).*@", rf"\1{MASK}@", url)
    url = re.sub(r"([?&;]|\A|\s)([^=&?;\s]+)=('[^']*'|[^&;\s]*)", _of_query, url)
    return mask(url)


@cache  # and not at import: compiling them takes longer than most commands need for anything else
def _patterns() -> tuple[tuple[re.Pattern[str], Replacement], ...]:
    after = rf"\1{MASK}"
    return (
        (re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END|\Z)", re.DOTALL), rf"\1{MASK}\2"),
        (re.compile(rf"((?:--db|RANBENCH_DB)(?:\s+|=))({_WORD})"), lambda match: match[1] + _quoted_url(match[2])),
        (re.compile(r"://(\S*)"), _of_url),
        (re.compile(rf"((?<!\w){_DATABASES}:/?(?!/)[^\s:'\"]*:)\S*@", re.IGNORECASE), rf"\1{MASK}@"),
        (re.compile(r"([?&;])([^=&?;\s'\"]+)=([^&\s'\"]+)"), _of_query),
        (re.compile(rf"(?<=')({_VARIABLE})[^'\n]*(?=')"), after),
        (re.compile(rf"({_VARIABLE}){_WORD}"), after),
        (re.compile(rf"(?<!\w)(--?(?:[\w-]*{_NAMES}[\w-]*|pw)(?:\s+|=)){_WORD}", re.IGNORECASE), after),
        (
            re.compile(r"(\bcurl\b[^\n]*?\s(?:-[uU]\s*|--(?:proxy-)?user[ =]\s*)['\"]?[^\s:'\"]*:)[^\s'\"]+"),
            after,
        ),
        (
            re.compile(
                r"(\b(?:wandb|comet|neptune|huggingface-cli|hf auth)\s+login(?:\s+--?[\w-]+(?:=\S+)?)*\s+)"
                r"(?=\w*\d)[\w.-]{12,}"
            ),
            after,
        ),
        (re.compile(r"(\b(?:hooks\.slack\.com/\w+|discord(?:app)?\.com/api/webhooks)/)[^\s'\"]+"), after),
        (re.compile(r"(\blogin\s+\S+[\s+]+password\s+)\S+"), after),
        (
            re.compile(
                r"(\bauthorization[\"']?\s*:\s*[\"']?(?:(?:bearer|basic|token|digest|apikey|negotiate)\s+)?)"
                r"(?!(?:bearer|basic|token|digest|apikey|negotiate)\s)(?!\w+\s*[=(\[,)])[^\s'\",]+",
                re.IGNORECASE,
            ),
            after,
        ),
        (re.compile(r"(\b(?:bearer|basic)\s+)[\w.+/=-]{8,}", re.IGNORECASE), after),
        # Without quotes, only what mixes letters and digits: `token = new_token` is code.
        (
            re.compile(
                rf"({_NAMES}[\w-]*\s*[:=]\s*)(?=[\w.+/-]*\d)(?=[\w.+/-]*[a-z])[\w+/.-]{{6,}}=*(?![\w(\[])",
                re.IGNORECASE,
            ),
            after,
        ),
        (
            re.compile(rf"({_NAMES}[\w-]*[\"']?\]?{_TYPE}\s*[:=]{_GAP}[bruf]{{0,2}}){_QUOTED}", re.IGNORECASE),
            rf"\1\2{MASK}\2",
        ),
        (
            re.compile(rf"({_GIVEN}[bruf]{{0,2}})(\"{{3}}|'{{3}})(?!\2)(?:.|\n)+?\2", re.IGNORECASE),
            rf"\1\2{MASK}\2",
        ),
        # In brackets; several tokens or passwords are words of a vocabulary or names of fields.
        (
            re.compile(rf"((?!{_NAMES}s\b){_GIVEN})([(\[]{_GAP}{_STRING}(?:\s*,?{_GAP}{_STRING})*)", re.IGNORECASE),
            lambda match: match[1] + re.sub(_STRING, _masked_string, match[2]),
        ),
        (
            re.compile(
                rf"(\b(?:getenv|setenv|putenv|setdefault|get)\(\s*[\"'][\w-]*{_NAMES}[\w-]*[\"']\s*,{_GAP}[bruf]{{0,2}})"
                rf"{_QUOTED}",
                re.IGNORECASE,
            ),
            rf"\1\2{MASK}\2",
        ),
        # A block of YAML, also in a diff.
        (re.compile(rf"({_NAMES}[\w-]*\s*:\s*[>|][+-]?\s*\n[+ ]?\s*)[^\n]+", re.IGNORECASE), after),
        (
            re.compile(
                r"\b(?:gh[oprsu]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{16,}|sk-[\w-]{16,}"
                r"|sk_live_\w{12,}|(?:AKIA|ASIA)[0-9A-Z]{16}|xox[abeoprs]-[\w-]{10,}|AIza[\w-]{30,}"
                r"|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{30,}|dckr_[a-z]{3}_[\w-]{12,}"
                r"|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,})"
            ),
            MASK,
        ),
    )


def _masked_string(match: re.Match[str]) -> str:
    before, quote = re.match(r"([bruf]*)(.)", match[0]).groups()  # type: ignore[union-attr]
    return f"{before}{quote}{MASK}{quote}"


def _of_url(match: re.Match[str]) -> str:
    """Mask the password of a URL in text, which may hold a slash and an @; a port of a website is none."""
    rest = match[1]
    if "@" not in rest:
        return match[0]
    before = re.search(r"[A-Za-z][\w+.-]*\Z", match.string[max(0, match.start() - 40) : match.start()])
    scheme = before[0].lower() if before else ""
    if rest.startswith("/") and scheme in ("sqlite", "file"):
        return match[0]
    if re.search(r"https?\Z", scheme):
        rest = re.sub(r"\A[^\s:/@?#'\"]+(?::(?:x-oauth-basic)?)?@", f"{MASK}@", rest)  # a token for a user
        rest = re.sub(r"\A([^\s:/?#'\"]*:)(?!\d+(?:[/?#'\",)]|\Z)).*@", rf"\1{MASK}@", rest)
    else:
        rest = re.sub(r"\A([^\s:'\"]*:).*@", rf"\1{MASK}@", rest)
    return f"://{rest}"


def _of_query(match: re.Match[str]) -> str:
    """Mask a value of a query by its name, which may be written with percent signs, or misspelt."""
    secret = re.search(rf"{_NAMES}|\bpas+w|\bpsw", unquote(match[2]), re.IGNORECASE)
    return f"{match[1]}{match[2]}={MASK}" if secret and match[3] else match[0]


def _quoted_url(word: str) -> str:
    quote = word[0] if word[0] in "'\"" else ""
    return f"{quote}{mask_url(word[1:-1] if quote else word)}{quote}"


def _of_environment() -> list[str]:
    """Values of environment variables that are called secrets, the longest first."""
    found = {
        value
        for name, value in os.environ.items()
        if len(value) >= SHORTEST and re.search(_NAMES, name, re.IGNORECASE) and not os.path.exists(value)  # noqa: PTH110 - may be no path
    }
    return sorted(found, key=len, reverse=True)

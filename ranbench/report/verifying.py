"""A committed report against one that is made anew: every number that differs, with its place."""

from __future__ import annotations

import difflib
import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ranbench.errors import UsageError, nearest, one_line

KINDS: tuple[Literal["md", "json"], ...] = ("md", "json")
_ABSENT = object()
_SUITE = re.compile(r"(ranbench (?:run|report)) (?:'[^']*'|\S+)")
_OTHER_PAGE = re.compile(r" A page of such runs: `ranbench report [^`]*`\.?")
_FLAGS = {"--compare"}
_OPTIONS = {"--protocol", "--factor", "--seeds", "--seeds-from", "--against"}


@dataclass(frozen=True)
class Committed:
    """A report as it lies in a file, and how it says that it was made."""

    file: Path
    kind: Literal["md", "json"]
    text: str
    suite: str
    compare: bool
    protocol: str | None
    factor: float | None
    seeds: int | None
    seeds_from: int | None
    against: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """One place of a report: what the file says there, and what comes out anew (None where there is nothing)."""

    where: str
    committed: str | None
    recomputed: str | None

    def __str__(self) -> str:
        """Say it in a line."""
        before, now = ("nothing" if value is None else repr(value) for value in (self.committed, self.recomputed))
        return f"{self.where}: {before} in the file, {now} recomputed"


def committed(file: Path) -> Committed:
    """Read a report of markdown or JSON with the command that stands in it.

    Raises:
        UsageError: it cannot be read, is of another format, or does not tell how it was made.
    """
    kind = next((kind for kind in KINDS if file.suffix == f".{kind}"), None)
    if kind is None:
        raise UsageError(
            f"--verify {file}: is no report of a format that can be verified (allowed: {', '.join(KINDS)}); "
            "'ranbench report SUITE --format md,json' writes them beside the others"
        )
    try:
        text = file.read_text(encoding="utf-8")
        found = _json(text).get("commands", []) if kind == "json" else _fenced(text)
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(f"--verify {file}: cannot be read as a report: {one_line(error)}") from None
    commands = [line for line in found if isinstance(line, str) and line.startswith("ranbench report ")]
    command = commands[-1] if commands else None
    if command is None:
        raise UsageError(f"--verify {file}: does not tell the command that made it, 'ranbench report ...'")
    return _parsed(file, kind, text, command)


def _parsed(file: Path, kind: Literal["md", "json"], text: str, command: str) -> Committed:
    try:
        suite, *words = shlex.split(command)[2:]
        options: dict[str, list[str]] = {}
        rest = iter(words)
        for word in rest:
            if word not in _FLAGS | _OPTIONS:
                raise ValueError(f"{word!r} is not known{nearest(word, sorted(_FLAGS | _OPTIONS))}")
            options.setdefault(word, []).append("" if word in _FLAGS else next(rest))
        factor, seeds, first = (options.get(name) for name in ("--factor", "--seeds", "--seeds-from"))
        return Committed(
            file=file,
            kind=kind,
            text=text,
            suite=suite,
            compare="--compare" in options,
            protocol=options["--protocol"][0] if "--protocol" in options else None,
            factor=float(factor[0]) if factor else None,
            seeds=int(seeds[0]) if seeds else None,
            seeds_from=int(first[0]) if first else None,
            against=tuple(options.get("--against", ())),
        )
    except (ValueError, StopIteration) as error:
        raise UsageError(f"--verify {file}: cannot follow its command {command!r}: {one_line(error)}") from None


def differences(report: Committed, recomputed: str) -> tuple[Difference, ...]:
    """Compare a committed report with the text of the one that was made anew, in the order of the page.

    Of the commands in it, the word that names the suite is left out: it says where its file lies. So is the command for
    a page of other runs, whose protocol may not be at hand.
    """
    texts = report.text, recomputed
    if report.kind == "json":
        before, now = (
            {**found, "commands": list(map(_without_suite, found["commands"]))} for found in map(_json, texts)
        )
        return tuple(_values("", before, now))
    return tuple(_lines(*(_without_suite(_OTHER_PAGE.sub("", text)).splitlines() for text in texts)))


def _without_suite(text: str) -> str:
    return _SUITE.sub(r"\1 SUITE", text)


def _json(text: str) -> dict[str, Any]:
    """Read a JSON object, in which no key may stand twice.

    Raises:
        ValueError: it is none, or one does.
    """

    def checked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        twice = [name for index, name in enumerate(names) if name in names[:index]]
        if twice:
            raise ValueError(f"the key {twice[0]!r} stands twice")
        return dict(pairs)

    found = json.loads(text, object_pairs_hook=checked)
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found


def _fenced(text: str) -> list[str]:
    """Return the lines inside code fences, where the commands stand; a suite's own words stand in none."""
    inside = False
    found = []
    for line in text.splitlines():
        if line.startswith("```"):
            inside = not inside
        elif inside:
            found.append(line)
    return found


def _values(where: str, before: Any, now: Any) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys((*before, *now)):
            place = f"{where}.{key}" if where else str(key)
            yield from _values(place, before.get(key, _ABSENT), now.get(key, _ABSENT))
    elif isinstance(before, list) and isinstance(now, list):
        for index in range(max(len(before), len(now))):
            a, b = (part[index] if index < len(part) else _ABSENT for part in (before, now))
            yield from _values(f"{where}[{index}]", a, b)
    elif before is _ABSENT or now is _ABSENT or before != now or type(before) is not type(now):
        yield Difference(where, *(None if value is _ABSENT else json.dumps(value) for value in (before, now)))


def _lines(before: Sequence[str], now: Sequence[str]) -> Iterator[Difference]:
    matcher = difflib.SequenceMatcher(None, before, now, autojunk=False)
    for kind, i, i_end, j, j_end in matcher.get_opcodes():
        if kind == "equal":
            continue
        paired = max(i_end - i, j_end - j)
        for offset in range(paired):
            a = before[i + offset] if i + offset < i_end else None
            b = now[j + offset] if j + offset < j_end else None
            where = f"line {i + offset + 1}" if a is not None else f"after line {i_end}"
            yield from _line(where, before, i + offset, a, b)


def _line(where: str, lines: Sequence[str], index: int, a: str | None, b: str | None) -> Iterator[Difference]:
    """Compare two lines; two rows of a table cell by cell, under the headings of the committed one."""
    cells_a, cells_b = _cells(a), _cells(b)
    if not cells_a or len(cells_a) != len(cells_b):
        yield Difference(where, a, b)
        return
    heads = _heads(lines, index)
    for number, (left, right) in enumerate(zip(cells_a, cells_b, strict=True)):
        if left != right:
            head = heads[number] if number < len(heads) else f"column {number + 1}"
            yield Difference(f"{where}, {', '.join(cells_a[:2])}, {head}", left, right)


def _cells(line: str | None) -> list[str]:
    if line is None or not line.startswith("| "):
        return []
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def _heads(lines: Sequence[str], index: int) -> list[str]:
    """Return the headings of the table that a line is in."""
    top = index
    while top > 0 and lines[top - 1].startswith("|"):
        top -= 1
    return _cells(lines[top])

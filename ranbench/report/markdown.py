"""Grids and words -> GitHub markdown. Whatever comes from a suite, a net or a machine is escaped here."""

from __future__ import annotations

import re

from ranbench.report.layout import Entry, Grid, letter, one_line

# A star or tilde between spaces and an underscore inside a word mean nothing in GitHub markdown and stay as they are.
_SPECIAL = re.compile(r"[\\`{}\[\]#|$]|[*~](?=\S)|(?<=\S)[*~]|(?<![^\W_])_|_(?![^\W_])")
# What GitHub makes a link of by itself. It looks for an @ in the finished page, where a backslash is gone: what helps
# is a space of no width behind it, which bots write there, too.
_ADDRESS = re.compile(r"(?<=[A-Za-z0-9]):(?=//)|(?<=www)\.", re.IGNORECASE)
_MENTION = re.compile(r"@(?=[^\W_])")
_OPENS_A_BLOCK = re.compile(r"(\d+)([.)])|([-+=*~:])")


def text(value: str) -> str:
    """Escape words for one line of markdown: no markup, no HTML, no line breaks, nothing unseen, no link."""
    line = one_line(value)
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = _ADDRESS.sub(r"\\\g<0>", _SPECIAL.sub(r"\\\g<0>", line))
    return _MENTION.sub("@&#8203;", line)


def paragraph(value: str) -> str:
    """Escape words that begin a line, where a number or a sign could open a list or a rule."""
    line = text(value)
    if found := _OPENS_A_BLOCK.match(line):
        place = found.end() - 1
        return f"{line[:place]}\\{line[place:]}"
    return line


def code(value: str) -> str:
    """Write words as a code span; characters that could end it or a table's cell are replaced."""
    plain = one_line(value).replace("`", "'").replace("|", "¦")
    return f"`{plain}`"


def table(grid: Grid) -> str:
    """Write a grid as a table, with its notes as a list beneath; equal notes share a letter."""
    letters: dict[str, str] = {}
    head = [text(column.heading) or " " for column in grid.columns]
    rule = ["---:" if column.align == "right" else ":---" for column in grid.columns]
    lines = [head, rule, *([_entry(entry, letters) for entry in row] for row in grid.rows)]
    drawn = [f"| {' | '.join(cells)} |" for cells in lines]
    notes = [f"- ({letter}) {text(note)}" for note, letter in letters.items()]
    return "\n".join([*drawn, *(["", *notes] if notes else [])])


def _entry(entry: Entry, letters: dict[str, str]) -> str:
    shown = code(entry.text) if entry.code else text(entry.text)
    if entry.parts:
        shown = ", ".join(_entry(part, letters) for part in entry.parts)
    if entry.link:
        shown = f"[{shown}](#{entry.link})"
    if entry.anchor:
        shown = f'<a id="{entry.anchor}"></a>{shown}'
    marks = [letters.setdefault(note, letter(len(letters))) for note in entry.notes]
    return f"{shown} ({', '.join(marks)})" if marks else shown

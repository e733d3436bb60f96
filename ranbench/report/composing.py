"""The template of the page -> a document, for formats other than markdown.

Words and order of a page are written once, in ``report.md.j2``. Here every value that the template prints is put aside
and leaves a token in the text, so what is read as markup was written in the template and nowhere else: no value can
open a list, a table or a link.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from ranbench.report.document import (
    Block,
    Code,
    Heading,
    Illustration,
    Inline,
    Item,
    Items,
    Listing,
    Paragraph,
    Strong,
    Table,
    Text,
    plain,
)
from ranbench.report.layout import Grid, one_line
from ranbench.report.pages import Filters, content, rendered
from ranbench.report.shown import Picture
from ranbench.report.values import Tables
from ranbench.suite import Suite

_TOKEN = re.compile("\ufdd0([0-9]+)\ufdd1")  # characters that Unicode keeps free for uses like this one
_MARKUP = re.compile(r"(\*\*)|`([^`]*)`|\ufdd0([0-9]+)\ufdd1")
_HEADING = re.compile(r"(#{1,6}) (.*)")
_PICTURE = re.compile(r"!\[.*\]\((.*)\)")
_LONGEST_NAME = 60


def compose(suite: Suite, built: Tables, pictures: Sequence[Picture], *, compare: bool = True) -> tuple[Block, ...]:
    """Return the page of ``built`` as blocks, in reading order."""
    values = _Values()
    filters: Filters = {
        "text": values.text,
        "paragraph": values.text,
        "code": values.code,
        "table": values.table,
    }
    text = rendered(content(suite, built, pictures, compare=compare), filters, finalize=values.finalize)
    return _Reader(values, {picture.file: picture for picture in pictures}).blocks(text)


class _Values:
    """What the template printed, by the number in its token."""

    def __init__(self) -> None:
        self._kept: list[tuple[Text | Code, ...] | Grid] = []

    def text(self, value: str) -> str:
        return self._keep((Text(one_line(value)),))

    def code(self, value: str) -> str:
        return self._keep((Code(one_line(value)),))

    def table(self, grid: Grid) -> str:
        return self._keep(grid)

    def finalize(self, value: Any) -> Any:
        """Put aside what an expression gave, be it a value or words of the template."""
        text = str(value)
        if not text.strip() or _TOKEN.fullmatch(text):
            return text
        return self._keep(self._words(text))

    def grid(self, line: str) -> Grid | None:
        """Return the table that is all there is on a line."""
        found = _TOKEN.fullmatch(line)
        kept = self._kept[int(found[1])] if found else None
        return kept if isinstance(kept, Grid) else None

    def words(self, number: str) -> tuple[Text | Code, ...]:
        """Return the words behind a token; those of a table, which has none, are empty."""
        kept = self._kept[int(number)]
        return () if isinstance(kept, Grid) else kept

    def _words(self, text: str) -> tuple[Text | Code, ...]:
        """Split words about the tokens in them; a number that stands for nothing yet is no token."""
        parts: list[Text | Code] = []
        place = 0
        for found in _TOKEN.finditer(text):
            parts.append(Text(_unbroken(text[place : found.start()])))
            parts += self.words(found[1]) if int(found[1]) < len(self._kept) else ()
            place = found.end()
        parts.append(Text(_unbroken(text[place:])))
        return tuple(part for part in parts if part.text)

    def _keep(self, value: tuple[Text | Code, ...] | Grid) -> str:
        self._kept.append(value)
        return f"\ufdd0{len(self._kept) - 1}\ufdd1"


def _unbroken(text: str) -> str:
    """Put words on one line and keep the spaces at their ends, which part them from what stands beside."""
    return re.sub(r"\s+", " ", "".join(ch if ch.isprintable() or ch.isspace() else " " for ch in text))


class _Reader:
    """Reads the markup that the template uses, and no more."""

    def __init__(self, values: _Values, pictures: dict[str, Picture]):
        self._values = values
        self._pictures = pictures
        self._headings: dict[str, int] = {}
        self._tables: dict[str, int] = {}
        self._title = ""

    def blocks(self, text: str) -> tuple[Block, ...]:
        found: list[Block] = []
        lines = iter(text.splitlines())
        for line in lines:
            last = found[-1] if found else None
            if line.startswith("```"):
                found.append(Listing(tuple(self._listing(lines))))
            elif line.startswith("- "):
                item = Item(self._inlines(line[2:]))
                found[-1:] = [Items((*last.items, item))] if isinstance(last, Items) else [*found[-1:], Items((item,))]
            elif line.startswith("  - ") and isinstance(last, Items):
                *items, item = last.items
                found[-1] = Items((*items, replace(item, below=(*item.below, self._inlines(line[4:])))))
            elif line.strip():
                block = self._block(line.strip())
                if not _repeats_the_caption(block, last):
                    found.append(block)
        return tuple(found)

    def _listing(self, lines: Iterator[str]) -> Iterator[str]:
        for line in lines:
            if line.startswith("```"):
                return
            yield plain(self._inlines(line))

    def _block(self, line: str) -> Block:
        grid = self._values.grid(line)
        if grid:
            name = _numbered(self._tables, self._title)
            number = name.removeprefix(_slug(self._title)).lstrip("-")
            return Table(grid, f"{self._title} ({number})" if number else self._title, name)
        if heading := _HEADING.fullmatch(line):
            parts = self._inlines(heading[2])
            self._title = plain(parts)
            return Heading(len(heading[1]), parts, _numbered(self._headings, self._title))
        if picture := _PICTURE.fullmatch(line):
            file = plain(self._inlines(picture[1])).rpartition("/")[2]
            return Illustration(self._pictures[file])
        return Paragraph(self._inlines(line))

    def _inlines(self, line: str) -> tuple[Inline, ...]:
        parts: list[Inline] = []
        strong: list[Text | Code] | None = None
        place = 0
        for found in _MARKUP.finditer(line):
            into: list[Any] = parts if strong is None else strong
            into += [Text(line[place : found.start()])] if found.start() > place else []
            place = found.end()
            if found[1] and strong is None:
                strong = []
            elif found[1] and strong is not None:
                parts.append(Strong(tuple(strong)))
                strong = None
            elif found[2] is not None:
                into.append(Code(found[2]))
            else:
                into += self._values.words(found[3])
        parts += [*(strong or ()), *([Text(line[place:])] if line[place:] else [])]
        return tuple(parts)


def _repeats_the_caption(block: Block, last: Block | None) -> bool:
    """Tell whether a paragraph is the caption of the picture before it, which a document holds with the picture."""
    if not (isinstance(block, Paragraph) and isinstance(last, Illustration)):
        return False
    return plain(block.parts) == one_line(last.picture.caption)


def _numbered(taken: dict[str, int], title: str) -> str:
    """Return a name for a title, with a number where the same was taken before."""
    slug = _slug(title)
    taken[slug] = taken.get(slug, 0) + 1
    return slug if taken[slug] == 1 else f"{slug}-{taken[slug]}"


def _slug(title: str) -> str:
    short = title if len(title) <= _LONGEST_NAME else title.partition(":")[0]
    ascii_ = unicodedata.normalize("NFKD", short).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_)[:_LONGEST_NAME].strip("-") or "part"

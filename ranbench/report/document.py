"""A page as values: headings, paragraphs, lists, tables, pictures. Knows no format; ``composing`` makes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ranbench.report.layout import Grid
from ranbench.report.shown import Picture


@dataclass(frozen=True)
class Text:
    """Words, in any characters: a renderer escapes them."""

    text: str


@dataclass(frozen=True)
class Code:
    """Words to be typed or looked up as they stand."""

    text: str


@dataclass(frozen=True)
class Strong:
    """Words that stand out."""

    parts: tuple[Text | Code, ...]


Inline: TypeAlias = Text | Code | Strong


@dataclass(frozen=True)
class Heading:
    """A heading of a level from 1; ``name`` is unique in the page, of lower-case letters, digits and hyphens."""

    level: int
    parts: tuple[Inline, ...]
    name: str


@dataclass(frozen=True)
class Paragraph:
    """Running words."""

    parts: tuple[Inline, ...]


@dataclass(frozen=True)
class Item:
    """One of a list, with what stands in a list below it."""

    parts: tuple[Inline, ...]
    below: tuple[tuple[Inline, ...], ...] = ()


@dataclass(frozen=True)
class Items:
    """A list without numbers."""

    items: tuple[Item, ...]


@dataclass(frozen=True)
class Listing:
    """Commands, a line each."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table with the words of its heading; ``name`` as of a heading."""

    grid: Grid
    title: str
    name: str


@dataclass(frozen=True)
class Illustration:
    """A picture in its place."""

    picture: Picture


Block: TypeAlias = Heading | Paragraph | Items | Listing | Table | Illustration


def plain(parts: Sequence[Inline]) -> str:
    """Return the words without any markup."""
    return "".join(plain(part.parts) if isinstance(part, Strong) else part.text for part in parts)

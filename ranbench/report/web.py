"""A document -> one HTML file that needs nothing beside it. Looks and behaviour are in ``templates/page.*``."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ranbench.report.document import Block, Heading, Table, plain
from ranbench.report.layout import MARKS, Column, Entry, letter, one_line
from ranbench.report.pages import TEMPLATES

_OUTCOMES = {mark: outcome.replace(" ", "-") for outcome, mark in MARKS.items()}
_LONG = 28  # characters of an entry that may be broken into lines


@dataclass(frozen=True)
class Cell:
    """An entry as HTML shows it: ``mark`` stands before ``text``, ``notes`` are letters with the names of notes.

    ``parts``: the pieces of ``text`` with their links, where each has its own.
    """

    text: str
    code: bool
    mark: str
    outcome: str
    link: str | None
    anchor: str | None
    notes: tuple[tuple[str, str], ...]
    kind: str
    shape: str
    parts: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True)
class Drawn:
    """A table as HTML shows it: rows of cells, and the notes beneath with their letters and names."""

    title: str
    name: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[tuple[str, str, str], ...]


def page(blocks: Sequence[Block], drawings: Mapping[str, str]) -> str:
    """Render a document.

    Args:
        blocks: the document.
        drawings: the pictures' SVG elements, by their file names.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    engine = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    engine.filters |= {"plain": plain, "drawn": drawn, "one_line": one_line}
    engine.tests["kind"] = lambda value, kind: type(value).__name__ == kind
    style, script = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    title, *rest = blocks
    assert isinstance(title, Heading)
    first = next((index for index, block in enumerate(rest) if isinstance(block, Heading)), len(rest))
    return engine.get_template("report.html.j2").render(
        title=title,
        first=rest[:first],
        blocks=rest[first:],
        sections=[block for block in rest if isinstance(block, Heading) and block.level == 2],
        drawings=drawings,
        outcomes=_OUTCOMES,
        style=style,
        script=script,
        script_hash=f"sha256-{digest}",
    )


def drawn(table: Table) -> Drawn:
    """Lay out a table: the first words of a row are its heading, equal notes share a letter, marks stand apart."""
    letters: dict[str, str] = {}
    grid = table.grid
    heads = next((index for index, column in enumerate(grid.columns) if column.heading), 0)
    rows = tuple(
        tuple(
            _cell(entry, column, table.name, letters, heading=index == heads)
            for index, (entry, column) in enumerate(zip(row, grid.columns, strict=True))
        )
        for row in grid.rows
    )
    notes = tuple((mark, f"note-{table.name}-{mark}", one_line(note)) for note, mark in letters.items())
    return Drawn(one_line(table.title), table.name, grid.columns, rows, notes)


def _cell(entry: Entry, column: Column, name: str, letters: dict[str, str], *, heading: bool) -> Cell:
    text = one_line(entry.text)
    mark, _, rest = text.partition(" ")
    marked = mark in _OUTCOMES and (bool(rest) or not column.heading)
    marks = [letters.setdefault(note, letter(len(letters))) for note in entry.notes]
    return Cell(
        text=rest if marked else text,
        code=entry.code,
        mark=mark if marked else "",
        outcome=_OUTCOMES[mark] if marked else "",
        link=entry.link or entry.runs,
        anchor=entry.anchor,
        notes=tuple((mark, f"note-{name}-{mark}") for mark in marks),
        parts=tuple((one_line(part.text), part.link or part.runs) for part in entry.parts),
        kind="th" if heading else "td",
        shape="right" if column.align == "right" else "long" if len(text) > _LONG else "",
    )

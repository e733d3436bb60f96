"""Answers on stdout, everything else on stderr; no colour when it is not a terminal."""

from __future__ import annotations

import json
import math
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import typer

if TYPE_CHECKING:
    from rich.table import Table

LONG = 500  # rows of a table that are still laid out to the width of the screen
TEXT_WIDE = 100  # columns of running text


def answer(text: str) -> None:
    """Print a line of the answer."""
    typer.echo(text)


def paragraph(text: str) -> None:
    """Print running text of the answer on lines of at most ``TEXT_WIDE`` columns, the further ones indented."""
    typer.echo(textwrap.fill(text, TEXT_WIDE, subsequent_indent="    ", break_on_hyphens=False))


def note(text: str) -> None:
    """Print a line beside the answer, on stderr."""
    typer.echo(f"ranbench: {text}", err=True)


def as_json(value: Any) -> None:
    """Print a value as JSON; what is not finite becomes null, which JSON has no number for."""
    typer.echo(json_of(value))


def json_of(value: Any) -> str:
    """Return a value as JSON, as ``as_json`` prints it."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
    if_any: Sequence[str] = (),
) -> None:
    """Print a table.

    Args:
        columns: headings.
        rows: values of each row.
        right: columns that are aligned to the right.
        whole: columns whose values are never broken over lines, since one copies them.
        if_any: columns that are left out where all rows are empty.
    """
    texts = [["" if value is None else str(value) for value in row] for row in rows]
    kept = [n for n, name in enumerate(columns) if name not in if_any or any(row[n] for row in texts)]
    columns, texts = [columns[n] for n in kept], [[row[n] for n in kept] for row in texts]
    if len(texts) > LONG or not sys.stdout.isatty():
        _plain_table(columns, texts, right)
        return
    from rich.console import Console

    Console().print(laid_out(columns, texts, right, whole))


def is_terminal() -> bool:
    """Whether somebody reads the answer on a terminal."""
    return sys.stdout.isatty()


def laid_out(
    columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = (), whole: Sequence[str] = ()
) -> Table:
    """Return a table that takes the width of the screen."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        side: Literal["left", "right"] = "right" if column in right else "left"
        shown.add_column(column, justify=side, overflow="fold", no_wrap=column in whole)
    for row in rows:
        shown.add_row(*map(Text, row))
    return shown


def _plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> None:
    """Print a table at its full width, for a file, a pipe or a long list; rich takes milliseconds for a row."""
    from rich.cells import cell_len

    widths = [max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padding = [" " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)]
        sides = zip(columns, cells, padding, strict=True)
        return "  ".join(pad + cell if name in right else cell + pad for name, cell, pad in sides).rstrip()

    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    typer.echo("\n".join(["", line(columns), rule, *map(line, rows), ""]))


def plural(count: object, noun: str) -> str:
    """Say a number of things: ``1 claim``, ``2 claims``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def duration(seconds: float | None) -> str:
    """Say a time in words: ``42 s``, ``3 min 10 s``, ``2 h 5 min``."""
    if seconds is None:
        return "unknown"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def large(number: float | None) -> str:
    """Say a large number with a unit: ``1.2 G``."""
    if number is None:
        return "unknown"
    for size, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g}"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | bool):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)

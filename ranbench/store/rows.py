"""Rows as the mappings promise them: what a damaged file holds in their place is refused where it is read.

SQLite keeps any value in any column, and a flipped bit leaves a row that can still be fetched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import JSON, Boolean, Connection, Double, Integer, LargeBinary, Select, String

from ranbench.errors import one_line
from ranbench.store.schema import Unreadable, UtcTime

Kind = TypeVar("Kind", bound=StrEnum)

# The first that a column's type is one of says what its values are.
_VALUES: tuple[tuple[type, tuple[type, ...]], ...] = (
    (UtcTime, (datetime,)),
    (Boolean, (bool,)),
    (Integer, (int,)),
    (Double, (float, int)),
    (LargeBinary, (bytes,)),
    (JSON, (dict,)),
    (String, (str,)),
)

# What is read of a spec without loading it whole.
_SPEC: Mapping[str, Mapping[str, type]] = {
    "model": {"name": str},
    "data": {"name": str, "train_images": int, "test_images": int},
    "protocol": {"iterations": int, "batch": int, "evaluation": dict},
}


def fetched(connection: Connection, query: Select[*tuple[Any, ...]]) -> list[Any]:
    """Return the rows of a query for columns of tables.

    Raises:
        Unreadable: a value is not of its column's kind.
    """
    return list(checked(connection, query))


def checked(connection: Connection, query: Select[*tuple[Any, ...]]) -> Iterator[Any]:
    """Give the same rows one by one."""
    columns = list(query.selected_columns)
    allowed = [_allowed(column) for column in columns]
    for row in connection.execute(query):
        if not all(map(isinstance, row, allowed)):
            column, value = next(
                (column, value)
                for column, value, kinds in zip(columns, row, allowed, strict=True)
                if not isinstance(value, kinds)
            )
            raise Unreadable(f"{_name(column, query, row)}: its {column.name} is {_short(value)}")
        yield row


def _name(column: Any, query: Select[*tuple[Any, ...]], row: Any) -> str:
    """Name the record of a value by its own key where that was read, else by what the row begins with."""
    names = [(one.table.name, one.name) for one in query.selected_columns]
    key = (column.table.name, next(iter(column.table.primary_key.columns)).name)
    place = names.index(key) if key in names else 0
    return f"{names[place][0]} {_short(row[place])}"


def _allowed(column: Any) -> tuple[type, ...]:
    found = next((values for kind, values in _VALUES if isinstance(column.type, kind)), (object,))
    return (*found, type(None)) if column.nullable else found


def known(kind: type[Kind], value: str, name: str) -> Kind:
    """Return a value of a closed set.

    Raises:
        Unreadable: it is none of them.
    """
    try:
        return kind(value)
    except ValueError:
        raise Unreadable(f"{name}: its {kind.__name__.lower()} is {_short(value)}") from None


def check_spec(cell_id: str, spec: Mapping[str, Any]) -> None:
    """Check what is read of a spec without loading it whole.

    Raises:
        Unreadable: something of it is lacking, or of another kind.
    """
    for part, fields in _SPEC.items():
        content = spec.get(part)
        for name, kind in fields.items():
            if not isinstance(content, dict) or not isinstance(content.get(name), kind):
                raise Unreadable(f"cell {_short(cell_id)}: its spec has no {part}.{name} that can be read")
    images = spec["protocol"]["evaluation"].get("images")
    if images is not None and not isinstance(images, int):
        raise Unreadable(f"cell {_short(cell_id)}: its spec has no protocol.evaluation.images that can be read")


def check_numbers(name: str, numbers: Mapping[str, Any]) -> None:
    """Check that what was measured is numbers.

    Raises:
        Unreadable: one is none.
    """
    for key, value in numbers.items():
        if type(value) not in (int, float):
            raise Unreadable(f"{name}: its {key!a} is {_short(value)}")


def loads(text: Any) -> Any:
    """Read JSON that a database keeps as text.

    Raises:
        Unreadable: it is none.
    """
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise Unreadable(f"a record that should be JSON is not: {one_line(error)}") from None


def _short(value: Any) -> str:
    """Name a value on one line, ids by their first digits."""
    text = value[:12] if isinstance(value, str) and len(value) in (32, 64) else repr(value)[:40]
    return text if text.isprintable() else ascii(text)

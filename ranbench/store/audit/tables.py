"""The tables, columns, indexes and constraints of a database against those that this version expects."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any

from sqlalchemy import CheckConstraint, Connection, ForeignKeyConstraint, Inspector, Table, UniqueConstraint, inspect
from sqlalchemy.exc import SAWarning

from ranbench.store.audit.finding import Finding, fault, note
from ranbench.store.connection import kind_of
from ranbench.store.file import definitions
from ranbench.store.schema import VERSION_TABLE, Row

_MORE = "is none of ranbench's"


def tables(connection: Connection) -> Iterator[Finding]:
    """Tell what is lacking or different, which is a fault, and what there is beside it, which is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)  # of a damaged definition, which is told as a fault
        yield from list(_tables(connection))


def _tables(connection: Connection) -> Iterator[Finding]:
    found = inspect(connection)
    names = set(found.get_table_names())
    texts = definitions(connection) if connection.dialect.name == "sqlite" else {}
    for table in Row.metadata.sorted_tables:
        if table.name not in names:
            yield fault("tables", f"table {table.name} is lacking")
            continue
        yield from _columns(table, found, connection)
        yield from _constraints(table, found)
        yield from _checks(table, found, texts.get(table.name))
    for name, table_name in sorted(kind_of(connection).triggers(connection).items()):
        if table_name in Row.metadata.tables:
            yield fault("tables", f"trigger {name} on {table_name} acts when rows are written, which nothing may do")
    for name in sorted(found.get_view_names()):
        yield note("tables", f"view {name} {_MORE}")
    for name in sorted(names - {table.name for table in Row.metadata.sorted_tables} - {VERSION_TABLE}):
        yield note("tables", f"table {name} {_MORE}")


def _columns(table: Table, found: Inspector, connection: Connection) -> Iterator[Finding]:
    there = {column["name"]: column for column in found.get_columns(table.name)}
    for column in table.columns:
        where = f"column {table.name}.{column.name}"
        other = there.pop(column.name, None)
        if other is None:
            yield fault("tables", f"{where} is lacking")
            continue
        if bool(other["nullable"]) != bool(column.nullable):
            yield fault("tables", f"{where} {'refuses' if column.nullable else 'takes'} NULL, which it must not")
        types = [str(kind.compile(connection.dialect)).split(" COLLATE ")[0] for kind in (column.type, other["type"])]
        if types[0] != types[1]:
            yield fault("tables", f"{where} has type {types[1]}, expected {types[0]}")
    for name in there:
        yield note("tables", f"column {table.name}.{name} {_MORE}")


def _constraints(table: Table, found: Inspector) -> Iterator[Finding]:
    """Keys, references and indexes are compared by their columns, whatever their names."""
    key = found.get_pk_constraint(table.name)["constrained_columns"]
    expected = [column.name for column in table.primary_key.columns]
    if key != expected:
        yield fault(
            "tables", f"the primary key of {table.name} is ({', '.join(key)}), expected ({', '.join(expected)})"
        )
    unique = [tuple(one["column_names"]) for one in found.get_unique_constraints(table.name)]
    references = [_reference(one) for one in found.get_foreign_keys(table.name)]
    indexes = {_index(one): one for one in found.get_indexes(table.name)}
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            columns = tuple(column.name for column in constraint.columns)
            if columns not in unique:
                yield fault("tables", f"{table.name} ({', '.join(columns)}) is not unique in the database")
        if isinstance(constraint, ForeignKeyConstraint):
            element = constraint.elements[0]
            columns = (constraint.column_keys[0], element.column.table.name, element.column.name)
            if columns not in references:
                yield fault("tables", f"{table.name}.{columns[0]} does not refer to {columns[1]}.{columns[2]}")
    for index in table.indexes:
        columns = tuple(column.name for column in index.columns)
        if indexes.pop((columns, bool(index.unique), False), None) is None:
            kind = "unique index" if index.unique else "index"
            yield fault("tables", f"the {kind} on {table.name} ({', '.join(columns)}) is lacking")
    for one in indexes.values():
        if not one.get("duplicates_constraint"):
            yield note("tables", f"index {one['name']} {_MORE}")


def _index(one: Any) -> tuple[tuple[str, ...], bool, bool]:
    """The columns of an index, whether it is unique, and whether it leaves rows out."""
    partial = any(name.endswith("_where") for name in one.get("dialect_options", {}))
    return tuple(one["column_names"]), bool(one["unique"]), partial


def _reference(one: Any) -> tuple[str, str, str]:
    return one["constrained_columns"][0], one["referred_table"], one["referred_columns"][0]


def _checks(table: Table, found: Inspector, text: str | None) -> Iterator[Finding]:
    """CHECK constraints by name, and on SQLite, which keeps their text as it was given, by what they say."""
    there: dict[str, str | None]
    if text is None:
        there = {str(one["name"]): None for one in found.get_check_constraints(table.name)}
    else:
        there = _check_texts(text)
    for constraint in table.constraints:
        if isinstance(constraint, CheckConstraint):
            name, expected = str(constraint.name), _plain(str(constraint.sqltext))
            if name not in there:
                yield fault("tables", f"the check {name} on {table.name} is lacking")
            elif there[name] not in (None, expected):
                yield fault("tables", f"the check {name} on {table.name} says {there[name]!r}, expected {expected!r}")


def _check_texts(definition: str) -> dict[str, str | None]:
    """Find the named CHECK constraints in the text of a table."""
    found: dict[str, str | None] = {}
    for match in re.finditer(r'CONSTRAINT\s+"?(\w+)"?\s+CHECK\s*\(', definition, re.IGNORECASE):
        depth, end = 1, match.end()
        while depth and end < len(definition):
            depth += {"(": 1, ")": -1}.get(definition[end], 0)
            end += 1
        found[match[1]] = _plain(definition[match.end() : end - 1])
    return found


def _plain(text: str) -> str:
    return " ".join(text.split())

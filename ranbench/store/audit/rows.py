"""What rows must hold that no constraint of a database can demand: of attempts, references and JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ColumnElement, Connection, Text, cast, func, select, text
from sqlalchemy.orm import aliased

from ranbench.records import Owner, State
from ranbench.store import file
from ranbench.store.audit.finding import Finding, fault, note
from ranbench.store.reading import name_of, owner_of
from ranbench.store.rows import checked
from ranbench.store.rules import SERIES, broken
from ranbench.store.schema import (
    AttemptRow,
    MetricPointRow,
    MetricRow,
    PredictionRow,
    ProbeRow,
    Row,
    Unreadable,
    UtcTime,
)
from ranbench.store.writing import NO_OWNER

IsAlive = Callable[[Owner, datetime], bool]


def constraints(connection: Connection) -> Iterator[Finding]:
    """Find rows that break a CHECK; SQLite's own check leaves them out where a file is opened only to be read."""
    for table in Row.metadata.sorted_tables:
        for constraint in table.constraints:
            if isinstance(constraint, CheckConstraint):
                broken = select(func.count()).select_from(table).where(text(f"NOT ({constraint.sqltext})"))
                count = connection.execute(broken).scalar_one()
                if count:
                    rows = "1 row breaks" if count == 1 else f"{count} rows break"
                    yield fault("constraints", f"{table.name}: {rows} the check {constraint.name}")


def orphans(connection: Connection) -> Iterator[Finding]:
    """Find rows that name a row which is not there."""
    found = file.orphans(connection) if connection.dialect.name == "sqlite" else _orphans(connection)
    for (table, owner), count in found.items():
        rows = "1 row names" if count == 1 else f"{count} rows name"
        yield fault("orphans", f"{table}: {rows} a row of {owner} that is not there")


def _orphans(connection: Connection) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for table in Row.metadata.sorted_tables:
        for key in table.foreign_keys:
            owner = key.column.table.alias()
            lost = (key.parent.is_not(None), owner.c[key.column.name].is_(None))
            joined = table.outerjoin(owner, key.parent == owner.c[key.column.name])
            count = connection.execute(select(func.count()).select_from(joined).where(*lost)).scalar_one()
            if count:
                found[table.name, key.column.table.name] = count
    return found


def json_columns(connection: Connection) -> Iterator[Finding]:
    """Find JSON that cannot be read, or is no object. A server reads it when it is written, SQLite does not."""
    for table in Row.metadata.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, JSON):
                key = next(iter(table.primary_key.columns))
                for name, stored in connection.execute(select(key, cast(column, Text))):
                    if not _is_json(stored, optional=bool(column.nullable)):
                        yield fault("JSON", f"{table.name} {str(name)[:12]}: column {column.name} is not JSON")


def undecodable_text(connection: Connection) -> Iterator[Finding]:
    """Find text that is not UTF-8, of whatever version the tables are. A server takes none."""
    if connection.dialect.name == "sqlite":
        for told in file.undecodable(connection):
            yield fault("values", f"{told}; restore the database from a copy")


def times(connection: Connection) -> Iterator[Finding]:
    """Find times that are not in UTC in the one form whose order is that of time."""
    for table in Row.metadata.sorted_tables:
        key = next(iter(table.primary_key.columns))
        for column in table.columns:
            if isinstance(column.type, UtcTime):
                for name, stored in connection.execute(select(key, cast(column, Text))):
                    if not _is_time(column.type, stored, connection):
                        told = f"column {column.name} is not a time in UTC"
                        yield fault("values", f"{table.name} {str(name)[:12]}: {told}")


def _is_time(kind: UtcTime, stored: str | None, connection: Connection) -> bool:
    try:
        moment = kind.process_result_value(stored, connection.dialect)
        return kind.process_bind_param(moment, connection.dialect) == stored
    except (Unreadable, OverflowError):
        return False


def values(connection: Connection) -> Iterator[Finding]:
    """Find values that are not of their column's kind, the first of each table. A server takes none."""
    if connection.dialect.name != "sqlite":
        return
    for table in Row.metadata.sorted_tables:
        key = next(iter(table.primary_key.columns))
        plain = [column for column in table.columns if not isinstance(column.type, (UtcTime, JSON))]
        try:
            for _row in checked(connection, select(key, *plain)):
                pass
        except Unreadable as error:
            yield fault("values", str(error))


def _is_json(text: str | None, *, optional: bool) -> bool:
    if text is None:
        return optional
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def attempts(connection: Connection, is_alive: IsAlive) -> Iterator[Finding]:
    """Find done attempts without their result, points beyond the last step, and runs that nobody works on."""
    metrics = _final_metrics(connection)
    beyond = _beyond(connection)
    predicted, probed = (_owners(connection, column) for column in (PredictionRow.attempt_id, ProbeRow.attempt_id))
    series = {name: _owners(connection, MetricPointRow.attempt_id, MetricPointRow.name == name) for name in SERIES}
    columns = AttemptRow.__table__.columns
    for row in checked(connection, select(*columns).order_by(AttemptRow.fingerprint, AttemptRow.number)):
        name = name_of(row)
        counts = (row.step, row.iterations, metrics[row.id])
        found = broken(row.state, *counts, error=row.error, resumes=row.resumes, predicted=row.id in predicted)
        for told in found:
            yield fault("attempts", f"{name}: {told}")
        if row.state != State.DONE.value and row.id in probed:
            yield fault("attempts", f"{name}: has measurements of its weights, and is {row.state}")
        lacking = [one for one, owners in series.items() if row.id not in owners]
        if row.state == State.DONE.value and lacking:
            yield fault("attempts", f"{name}: is done without a point of {', '.join(lacking)}")
        if row.state != State.RUNNING.value and any(getattr(row, owned) is not None for owned in NO_OWNER):
            yield fault("attempts", f"{name}: has an owner, and is {row.state}")
        if row.id in beyond:
            last, of_series = beyond[row.id]
            yield fault("attempts", f"{name}: has a point of {of_series} at {last:,}, beyond its step {row.step:,}")
        owner = owner_of(row)
        if owner is not None and not is_alive(owner, row.updated):
            again = "'rerun --check'" if row.purpose == "check" else "run command"
            yield note("attempts", f"{name}: its process is gone; the next {again} resumes it")


def _owners(connection: Connection, column: Any, *where: ColumnElement[bool]) -> set[int]:
    return set(connection.execute(select(column).where(*where).distinct()).scalars())


def _final_metrics(connection: Connection) -> dict[int, dict[str, float | None]]:
    found: dict[int, dict[str, float | None]] = defaultdict(dict)
    for attempt_id, name, value in connection.execute(select(MetricRow.attempt_id, MetricRow.name, MetricRow.value)):
        found[attempt_id][name] = value
    return found


def _beyond(connection: Connection) -> dict[int, tuple[int, str]]:
    """The last point of each attempt that has one beyond its step, with the name of its series."""
    point: Any = aliased(MetricPointRow)
    query = (
        select(point.attempt_id, func.max(point.step), func.min(point.name))
        .join(AttemptRow, AttemptRow.id == point.attempt_id)
        .where(point.step > AttemptRow.step)
        .group_by(point.attempt_id)
    )
    # a last step that is no number is told with the values
    found = connection.execute(query)
    return {attempt_id: (step, name) for attempt_id, step, name in found if isinstance(step, int)}

"""Rows -> records. Few queries, whatever the number of runs; every function works inside the caller's transaction."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby, islice
from math import nan
from typing import Any, TypeVar

from sqlalchemy import BindParameter, ColumnElement, Connection, Row, Select, and_, bindparam, func, select
from sqlalchemy.orm import aliased

from ranbench.errors import UsageError
from ranbench.records import (
    CALIBRATED,
    Attempt,
    Calibration,
    Complexity,
    Environment,
    MetricPoint,
    Owner,
    Probe,
    Purpose,
    Reason,
    RunRecord,
    State,
)
from ranbench.store.rows import check_numbers, check_spec, fetched, known
from ranbench.store.schema import (
    ArtefactRow,
    AttemptRow,
    CalibrationRow,
    CellRow,
    ComplexityRow,
    EnvironmentRow,
    MetricPointRow,
    MetricRow,
    PredictionRow,
    ProbeRow,
    RunRow,
    SuiteProtocolRow,
    SuiteRow,
    SuiteRunRow,
    Unreadable,
)
from ranbench.store.values import Artefact, SuiteText

# Steps and values of one series.
Points = tuple[list[int], list[float]]

# SQLite allowed 999 parameters in a statement before version 3.32.
CHUNK = 900
_NUMBER = (float, int, type(None))

T = TypeVar("T")


def chunks(values: Iterable[T]) -> Iterator[list[T]]:
    """Cut values into parts that fit into one statement, without repeats."""
    rest = iter(dict.fromkeys(values))
    while part := list(islice(rest, CHUNK)):
        yield part


def pairs(connection: Connection, query: Select[Any, Any]) -> dict[Any, Any]:
    """Return the rows of a query for two columns as a mapping."""
    return {row[0]: row[1] for row in fetched(connection, query)}


def runs(connection: Connection, fingerprints: Collection[str] | None, suite: str | None) -> list[RunRecord]:
    """Read runs with all their attempts: in the order asked for, or else in which they were added."""
    parts: Iterable[list[str] | None] = [None] if fingerprints is None else chunks(fingerprints)
    return [record for part in parts for record in _part(connection, part, suite)]


def _part(connection: Connection, fingerprints: list[str] | None, suite: str | None) -> list[RunRecord]:
    inside = [] if fingerprints is None else [RunRow.fingerprint.in_(fingerprints)]
    if suite is not None:
        linked = select(SuiteRunRow.fingerprint).join(SuiteRow, SuiteRow.id == SuiteRunRow.suite_id)
        inside.append(RunRow.fingerprint.in_(linked.where(SuiteRow.name == suite)))
    where = and_(True, *inside)
    columns = (RunRow.fingerprint, RunRow.cell_id, RunRow.seed, CellRow.spec)
    query = select(*columns).join(CellRow, CellRow.cell_id == RunRow.cell_id).where(where).order_by(RunRow.id)
    rows = fetched(connection, query)
    for cell_id, spec in {row.cell_id: row.spec for row in rows}.items():
        check_spec(cell_id, spec)
    attempts, suites = _attempts(connection, where), _suites_of(connection, where)
    found = {
        row.fingerprint: RunRecord(
            fingerprint=row.fingerprint,
            cell_id=row.cell_id,
            seed=row.seed,
            spec={**row.spec, "seed": row.seed},
            attempts=tuple(attempts.get(row.fingerprint, ())),
            suites=tuple(suites.get(row.fingerprint, ())),
        )
        for row in rows
    }
    return [found[name] for name in (found if fingerprints is None else fingerprints) if name in found]


def _attempts(connection: Connection, where: ColumnElement[bool]) -> dict[str, list[Attempt]]:
    of_runs = (RunRow, RunRow.fingerprint == AttemptRow.fingerprint)
    query = select(*AttemptRow.__table__.columns).join(*of_runs).where(where)
    # By the time and not by the number: that of an attempt from a bundle depends on when the bundle was merged.
    rows = fetched(connection, query.order_by(AttemptRow.started, AttemptRow.number))
    metrics: dict[int, dict[str, float]] = defaultdict(dict)
    of_attempts = (AttemptRow, AttemptRow.id == MetricRow.attempt_id)
    values = select(MetricRow.attempt_id, MetricRow.name, MetricRow.value).join(*of_attempts).join(*of_runs)
    for attempt_id, name, value in fetched(connection, values.where(where).order_by(MetricRow.name)):
        metrics[attempt_id][name] = _number(value)
    query = select(*ProbeRow.__table__.columns).join(AttemptRow, AttemptRow.id == ProbeRow.attempt_id).join(*of_runs)
    probed = fetched(connection, query.where(where).order_by(ProbeRow.kind))
    places = environments(connection, {row.environment_id for row in (*rows, *probed)})
    probes: dict[int, list[Probe]] = defaultdict(list)
    for row in probed:
        check_numbers(f"attempt {row.attempt_id}, its {row.kind}", row.numbers)
        place = place_of_probe(row, places)
        probes[row.attempt_id].append(Probe(row.kind, row.numbers, row.code_id, row.measured, place))
    result: dict[str, list[Attempt]] = defaultdict(list)
    for row in rows:
        made = _attempt(row, environment_of(row, places), metrics[row.id], tuple(probes[row.id]))
        result[row.fingerprint].append(made)
    return result


def _attempt(row: Row[Any], environment: Environment, metrics: dict[str, float], probes: tuple[Probe, ...]) -> Attempt:
    return Attempt(
        id=row.id,
        fingerprint=row.fingerprint,
        number=row.number,
        state=known(State, row.state, name_of(row)),
        reason=None if row.reason is None else known(Reason, row.reason, name_of(row)),
        error=row.error,
        code_id=row.code_id,
        step=row.step,
        iterations=row.iterations,
        resumes=row.resumes,
        resumed_inexactly=row.resumed_inexactly,
        started=row.started,
        updated=row.updated,
        ended=row.ended,
        owner=owner_of(row),
        environment=environment,
        metrics=metrics,
        purpose=known(Purpose, row.purpose, name_of(row)),
        uid=row.uid,
        seconds=row.seconds,
        bundle=row.bundle,
        probes=probes,
    )


def name_of(row: Row[Any]) -> str:
    """Name an attempt as messages do."""
    return f"run {row.fingerprint[:12]}, attempt {row.number}"


def environment_of(row: Row[Any], places: Mapping[int, Environment]) -> Environment:
    """Return where an attempt ran.

    Raises:
        Unreadable: its environment is not there.
    """
    if row.environment_id not in places:
        raise Unreadable(f"{name_of(row)}: names an environment that is not there")
    return places[row.environment_id]


def place_of_probe(row: Row[Any], places: Mapping[int, Environment]) -> Environment:
    """Return where an attempt's weights were measured.

    Raises:
        Unreadable: its environment is not there.
    """
    if row.environment_id not in places:
        raise Unreadable(f"attempt {row.attempt_id}, its {row.kind}: names an environment that is not there")
    return places[row.environment_id]


def owner_of(row: Row[Any]) -> Owner | None:
    """Return who holds an attempt. The token is left out: whoever has it can write."""
    if row.owner_token is None:
        return None
    return Owner(token="", host=row.owner_host, pid=row.owner_pid, pid_started=row.owner_pid_started)


def environments(connection: Connection, ids: Collection[int]) -> dict[int, Environment]:
    """Read environments by their id."""
    fields = [getattr(EnvironmentRow, field.name) for field in dataclasses.fields(Environment)]
    result: dict[int, Environment] = {}
    for part in chunks(ids):
        query = select(EnvironmentRow.id, *fields).where(EnvironmentRow.id.in_(part))
        for identity, *values in fetched(connection, query):
            result[identity] = Environment(*values)
    return result


def calibrations(connection: Connection) -> list[Calibration]:
    """Read what steps of nets took, oldest first."""
    names = ("key", "about", "numbers", "code_id", "measured", "environment_id")
    query = select(*(getattr(CalibrationRow, name) for name in names)).order_by(CalibrationRow.id)
    found = list(fetched(connection, query))
    places = environments(connection, {row.environment_id for row in found})
    result = []
    for row in found:
        check_numbers(f"calibration {row.key[:12]}", row.numbers)
        values = {name: row.numbers.get(name) for name in CALIBRATED}
        if values["step_seconds"] is None or values["image_seconds"] is None:
            raise Unreadable(f"calibration {row.key[:12]}: holds no seconds")
        kept = {"key": row.key, "about": row.about, "code_id": row.code_id, "measured": row.measured}
        result.append(Calibration(**kept, **values, environment=places[row.environment_id]))
    return result


def _suites_of(connection: Connection, where: ColumnElement[bool]) -> dict[str, list[str]]:
    query = (
        select(SuiteRunRow.fingerprint, SuiteRow.name)
        .join(SuiteRow, SuiteRow.id == SuiteRunRow.suite_id)
        .join(RunRow, RunRow.fingerprint == SuiteRunRow.fingerprint)
    )
    result: dict[str, list[str]] = defaultdict(list)
    for fingerprint, name in fetched(connection, query.where(where).distinct().order_by(SuiteRow.name)):
        result[fingerprint].append(name)
    return result


def done(connection: Connection, fingerprints: Collection[str]) -> set[str]:
    """Return those of the runs that have a done attempt at a result."""
    result: set[str] = set()
    counts = (AttemptRow.state == State.DONE.value, AttemptRow.purpose == Purpose.RESULT.value)
    for part in chunks(fingerprints):
        wanted = (AttemptRow.fingerprint.in_(part), *counts)
        result.update(connection.execute(select(AttemptRow.fingerprint).where(*wanted)).scalars())
    return result


def find(connection: Connection, prefix: str) -> RunRecord:
    """Read the one run whose fingerprint begins with ``prefix``.

    Raises:
        UsageError: not 4 to 64 hexadecimal digits, or no run or several have it.
    """
    prefix = prefix.lower()
    if not re.fullmatch(r"[0-9a-f]{4,64}", prefix):
        raise UsageError(f"run {prefix!r}: expected 4 to 64 hexadecimal digits of a fingerprint ('ranbench runs')")
    query = select(RunRow.fingerprint).where(RunRow.fingerprint.startswith(prefix)).order_by(RunRow.fingerprint)
    found: Sequence[str] = connection.execute(query.limit(5)).scalars().all()
    if not found:
        raise UsageError(f"run {prefix!r}: no fingerprint begins so; 'ranbench runs' lists them")
    if len(found) > 1:
        several = ", ".join(name[:12] for name in found[:4]) + (", ..." if len(found) > 4 else "")
        raise UsageError(f"run {prefix!r}: several fingerprints begin so: {several}; give more digits")
    records = runs(connection, found, None)
    if not records:
        raise Unreadable(f"run {found[0][:12]}: names a cell that is not there")
    return records[0]


def points(
    connection: Connection, attempt_ids: Collection[int], names: Collection[str] | None
) -> dict[tuple[int, str], Points]:
    """Read series as (steps, values) by attempt and name, steps ascending; a series without a point is left out."""
    point = MetricPointRow
    query = select(point.attempt_id, point.name, point.step, point.value)
    if names is not None:
        query = query.where(point.name.in_(list(names)))
    result: dict[tuple[int, str], Points] = {}
    for part in chunks(attempt_ids):
        wanted = query.where(point.attempt_id.in_(part)).order_by(point.attempt_id, point.name, point.step)
        for key, group in groupby(connection.execute(wanted), key=lambda row: (row[0], row[1])):
            steps, values = zip(*((row[2], _number(row[3])) for row in group), strict=True)
            whole = isinstance(key[1], str) and set(map(type, steps)) == {int}
            if not whole or not set(map(type, values)) <= {int, float}:
                raise Unreadable(f"attempt {key[0]}: its series {key[1]!a} has a point that is no number")
            result[key] = (list(steps), list(values))
    return result


def last_points(
    connection: Connection, attempt_ids: Collection[int], names: Collection[str]
) -> dict[int, dict[str, MetricPoint]]:
    """Read the last point of the named series of the attempts: one seek in the primary key for each.

    A GROUP BY would read every point, or every entry of the key, of all series.
    """
    query = _last_point()
    result: dict[int, dict[str, MetricPoint]] = defaultdict(dict)
    for name in names:
        for part in chunks(attempt_ids):
            for attempt_id, step, value in connection.execute(query, {"name": name, "attempts": part}).all():
                if type(step) is not int or type(value) not in _NUMBER:
                    raise Unreadable(f"attempt {attempt_id}: its series {name} has a point that is no number")
                result[attempt_id][name] = MetricPoint(name, step, _number(value))
    return dict(result)


@cache
def _last_point() -> Select[int, int, float | None]:
    """Ask for the last point of the series ``name`` of each of ``attempts``."""
    name: BindParameter[str] = bindparam("name")
    point, other = aliased(MetricPointRow), aliased(MetricPointRow)
    of_it = (other.attempt_id == AttemptRow.id, other.name == name)
    last = select(func.max(other.step)).where(*of_it).correlate(AttemptRow).scalar_subquery()
    seek = and_(point.attempt_id == AttemptRow.id, point.name == name, point.step == last)
    chosen = AttemptRow.id.in_(bindparam("attempts", expanding=True))
    return select(AttemptRow.id, point.step, point.value).join(point, seek).where(chosen)


def predictions(connection: Connection, attempt_id: int) -> bytes | None:
    """Read the predicted classes of an attempt."""
    query = select(PredictionRow.classes).where(PredictionRow.attempt_id == attempt_id)
    return next((row[0] for row in fetched(connection, query)), None)


def complexity(connection: Connection, key: str) -> Complexity | None:
    """Read the size of a net as it was recorded last."""
    newest = (ComplexityRow.recorded.desc().nulls_last(), ComplexityRow.key)
    return _complexity(connection, _counts().where(ComplexityRow.net == key).order_by(*newest).limit(1))


def complexity_of(connection: Connection, attempt_id: int) -> Complexity | None:
    """Read the size of the net of an attempt."""
    of_attempt = _counts().join(AttemptRow, AttemptRow.complexity_key == ComplexityRow.key)
    return _complexity(connection, of_attempt.where(AttemptRow.id == attempt_id))


def _counts() -> Select[*tuple[Any, ...]]:
    columns = ComplexityRow.__table__.columns
    return select(*(columns[field.name] for field in dataclasses.fields(Complexity)))


def _complexity(connection: Connection, query: Select[*tuple[Any, ...]]) -> Complexity | None:
    return next((Complexity(*row) for row in fetched(connection, query)), None)


def suites(connection: Connection) -> list[SuiteText]:
    """Read the texts of all suites, the one used last first."""
    row = SuiteProtocolRow
    columns = (row.suite_id, row.name, row.sha256, row.text, row.used)
    oldest_first = select(*columns).order_by(row.used, row.sha256)
    protocols: dict[int, dict[str, str]] = defaultdict(dict)
    for suite_id, name, _, text, _ in fetched(connection, oldest_first):
        protocols[suite_id][name] = text
    names = [field.name for field in dataclasses.fields(SuiteText) if field.name != "protocols"]
    query = select(SuiteRow.id, *(getattr(SuiteRow, name) for name in names))
    ordered = fetched(connection, query.order_by(SuiteRow.used.desc(), SuiteRow.id.desc()))
    return [
        SuiteText(**dict(zip(names, content, strict=True)), protocols=protocols.get(number, {}))
        for number, *content in ordered
    ]


def artefacts(connection: Connection, attempt_ids: Collection[int]) -> list[Artefact]:
    """Read what is known of the files of the attempts, ordered by attempt, kind and path."""
    fields = [getattr(ArtefactRow, field.name) for field in dataclasses.fields(Artefact)]
    result: list[Artefact] = []
    for part in chunks(sorted(attempt_ids)):
        query = select(*fields).where(ArtefactRow.attempt_id.in_(part))
        ordered = query.order_by(ArtefactRow.attempt_id, ArtefactRow.kind, ArtefactRow.path)
        result += [Artefact(*row) for row in fetched(connection, ordered)]
    return result


def _number(value: float | None) -> float:
    return nan if value is None else value

"""Whether every closed attempt can be exported: each record is taken as an export and a merge take it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlalchemy import Connection, select

from ranbench.errors import StoreError
from ranbench.store.audit.finding import Finding, fault
from ranbench.store.bundle import Record, line
from ranbench.store.checking import FORMS, Absent, Checked, told
from ranbench.store.exporting import Export
from ranbench.store.reading import name_of
from ranbench.store.rows import checked
from ranbench.store.schema import AttemptRow, Unreadable


def exports(connection: Connection, known: Iterable[Finding]) -> Iterator[Finding]:
    """Find every record that an export would refuse; of a record of which a fault is ``known`` none is told again."""
    names = _attempts(connection)
    faulty = tuple(finding.text.partition(": ")[0] for finding in known if finding.level == "fault")
    taken, whole = Checked(), not faulty
    for part, records in Export(connection).records().items():
        try:
            for record in records:
                problem = _problem(taken, part, record, whole=whole)
                if problem is None:
                    continue
                whole = False
                name = _name(part, record, names)
                if name not in faulty:
                    yield fault("export", f"{name}: {problem}")
        except (Unreadable, ValueError, RecursionError) as error:
            yield fault("export", f"{part} could not be checked to their end: {error}")
            whole = False


def _problem(taken: Checked, part: str, record: Record, *, whole: bool) -> str | None:
    """Tell why a record is refused; one that only lacks another is told where nothing else is wrong."""
    try:
        with told("", ""):
            taken.take(FORMS[part], record)
            line(record)
    except StoreError as error:
        if not whole and isinstance(error.__context__, Absent):
            return None
        return str(error).removeprefix(": ").removesuffix("; ")
    return None


def _attempts(connection: Connection) -> dict[str, str]:
    """The names that messages give attempts, by those that bundles give them."""
    query = select(AttemptRow.uid, AttemptRow.fingerprint, AttemptRow.number)
    return {row.uid: name_of(row) for row in checked(connection, query)}


def _name(part: str, record: Record, attempts: dict[str, str]) -> str:
    match part:
        case "cells":
            return f"cell {record['cell_id'][:12]}"
        case "runs":
            return f"run {record['fingerprint'][:12]}"
        case "suites":
            return f"suite {record['name']!a}, version {record['sha256'][:12]}"
        case "environments":
            return f"environment {record['key'][:12]}"
        case "complexity":
            return f"counts {record['key'][:12]}"
        case "attempts":
            return attempts[record["uid"]]
        case "series":
            return f"{attempts[record['attempt']]}, series {record['name']!a}"
        case _:
            return f"{attempts[record['attempt']]}, its {record['kind']!a}"

"""Database -> records of a bundle, in canonical order. What a bundle must not hold is left out here.

Only closed attempts are exported: they never change, so that two bundles can only agree about one or conflict. What was
measured of their weights later stands beside them. Numbers of this database (ids, the number of an attempt, when a run
was planned) are left out: they differ where nothing else does.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from ranbench.errors import StoreError, UsageError, nearest, one_line
from ranbench.places import without_paths, without_secrets
from ranbench.records import State
from ranbench.spec import RunSpec, digest
from ranbench.store.bundle import Record, from_number, is_artefact
from ranbench.store.checking import FORMS, Checked, told
from ranbench.store.content import sha256_of
from ranbench.store.form import Form
from ranbench.store.public import public
from ranbench.store.reading import (
    artefacts,
    chunks,
    environment_of,
    environments,
    name_of,
    pairs,
    place_of_probe,
    points,
)
from ranbench.store.rows import fetched
from ranbench.store.schema import (
    ArtefactRow,
    AttemptRow,
    CellRow,
    ComplexityRow,
    MetricRow,
    PredictionRow,
    ProbeRow,
    RunRow,
    SuiteProtocolRow,
    SuiteRow,
    SuiteRunRow,
    Unreadable,
)
from ranbench.store.values import COUNTS

CLOSED = (State.DONE.value, State.FAILED.value)
COPIED = (
    "uid",
    "state",
    "reason",
    "code_id",
    "step",
    "iterations",
    "resumes",
    "resumed_inexactly",
    "seconds",
    "purpose",
)


class Export:
    """What is exported of a database: the closed attempts of its runs, or of those that some suites asked for.

    Raises:
        UsageError: a suite is not in the database.
    """

    def __init__(self, connection: Connection, suites: Collection[str] = (), *, with_patch: bool = False):
        self.connection, self.with_patch = connection, with_patch
        closed = select(AttemptRow.fingerprint).where(AttemptRow.state.in_(CLOSED)).distinct()
        if suites:
            self._check(suites)
            linked = select(SuiteRunRow.fingerprint).join(SuiteRow, SuiteRow.id == SuiteRunRow.suite_id)
            closed = closed.where(AttemptRow.fingerprint.in_(linked.where(SuiteRow.name.in_(list(suites)))))
        self.suites = frozenset(suites)
        self.runs: list[str] = sorted(row[0] for row in fetched(connection, closed))

    def _check(self, suites: Collection[str]) -> None:
        known = sorted(set(self.connection.execute(select(SuiteRow.name)).scalars()))
        for name in suites:
            if name not in known:
                raise UsageError(
                    f"suite {name!r}: nothing of it is in the database{nearest(name, known)} "
                    f"(there is: {', '.join(known) or 'none'})"
                )

    def parts(self, label: str) -> dict[str, Iterator[Record]]:
        """Return the records of every part of a bundle, to be taken in the order of parts.

        Raises:
            StoreError: one of them is not what a merge takes; ``label`` names the database.
        """
        checked, parts = Checked(), self.records()
        return {part: _checked(checked, f"{label}: {part}", FORMS[part], parts[part]) for part in parts}

    def records(self) -> dict[str, Iterator[Record]]:
        """Return the same before they are checked."""
        return {
            "cells": self._cells(),
            "runs": self._runs(),
            "suites": self._suites(),
            "environments": self._environments(),
            "complexity": self._complexity(),
            "attempts": self.attempts(),
            "series": self.series(),
            "probes": self.probes(),
        }

    def _cells(self) -> Iterator[Record]:
        found: dict[str, Any] = {}
        for part in chunks(self.runs):
            query = select(CellRow.cell_id, CellRow.spec).join(RunRow, RunRow.cell_id == CellRow.cell_id)
            found.update(pairs(self.connection, query.where(RunRow.fingerprint.in_(part))))
        for cell, stored in sorted(found.items()):
            spec = RunSpec.stored(cell, {**stored, "seed": 0})  # an older version may have stored fewer fields
            yield {"cell_id": cell, "spec": spec.model_dump(mode="json", exclude={"seed"})}

    def _runs(self) -> Iterator[Record]:
        for part in chunks(self.runs):
            query = select(RunRow.fingerprint, RunRow.cell_id, RunRow.seed).where(RunRow.fingerprint.in_(part))
            for row in fetched(self.connection, query.order_by(RunRow.fingerprint)):
                yield dict(row._mapping)

    def _suites(self) -> Iterator[Record]:
        linked: dict[int, list[str]] = defaultdict(list)
        for part in chunks(self.runs):
            query = select(SuiteRunRow.suite_id, SuiteRunRow.fingerprint).where(SuiteRunRow.fingerprint.in_(part))
            for suite, fingerprint in fetched(self.connection, query):
                linked[suite].append(fingerprint)
        protocols: dict[int, list[Record]] = defaultdict(list)
        columns = SuiteProtocolRow.__table__.columns
        ordered = select(*columns).order_by(SuiteProtocolRow.suite_id, SuiteProtocolRow.name, SuiteProtocolRow.sha256)
        for row in fetched(self.connection, ordered):
            content = {"name": row.name, "sha256": row.sha256, "text": row.text, "used": row.used.isoformat()}
            protocols[row.suite_id].append(content)
        rows = fetched(self.connection, select(*SuiteRow.__table__.columns))
        for row in sorted(rows, key=lambda row: (row.name, row.sha256)):
            if row.id in linked and (not self.suites or row.name in self.suites):
                yield {
                    "name": row.name,
                    "title": row.title,
                    "text": row.text,
                    "sha256": row.sha256,
                    "recorded": row.recorded.isoformat(),
                    "used": row.used.isoformat(),
                    "runs": sorted(linked[row.id]),
                    "protocols": sorted(protocols[row.id], key=lambda one: (one["name"], one["sha256"])),
                }

    def _closed(self, column: Any) -> set[Any]:
        """Return the values of a column over the exported attempts."""
        found: set[Any] = set()
        for part in chunks(self.runs):
            mine = (AttemptRow.fingerprint.in_(part), AttemptRow.state.in_(CLOSED))
            found.update(row[0] for row in fetched(self.connection, select(column).where(*mine)))
        return found

    def _names(self, uids: Collection[str] | None) -> Iterator[list[str]]:
        """Return names of attempts in parts and in order: of all that are exported where none are given."""
        return chunks(sorted(self._all_names if uids is None else uids))

    @cached_property
    def _all_names(self) -> set[str]:
        return self._closed(AttemptRow.uid)

    def _environments(self) -> Iterator[Record]:
        probed: set[int] = set()
        for part in chunks(self._closed(AttemptRow.id)):
            query = select(ProbeRow.environment_id).where(ProbeRow.attempt_id.in_(part))
            probed.update(self.connection.execute(query).scalars())
        found = environments(self.connection, self._closed(AttemptRow.environment_id) | probed).values()
        yield from _sorted({digest(public(each)): public(each) for each in found})

    def _complexity(self) -> Iterator[Record]:
        found = self._counts(self._closed(AttemptRow.complexity_key) - {None})
        yield from _sorted({digest(content): content for content in found.values()})

    def attempts(self, uids: Collection[str] | None = None) -> Iterator[Record]:
        """Return the closed attempts, or those of them that have one of these names; in the order of their names."""
        for part in self._names(uids):
            yield from self._attempts(part)

    def _attempts(self, uids: Sequence[str]) -> Iterator[Record]:
        columns = AttemptRow.__table__.columns
        query = select(*columns).where(AttemptRow.uid.in_(uids), AttemptRow.state.in_(CLOSED))
        rows = sorted(fetched(self.connection, query), key=lambda row: row.uid)
        ids = [row.id for row in rows]
        metrics: dict[int, dict[str, Any]] = defaultdict(dict)
        values = select(MetricRow.attempt_id, MetricRow.name, MetricRow.value).where(MetricRow.attempt_id.in_(ids))
        for attempt, name, value in fetched(self.connection, values):
            metrics[attempt][name] = from_number(value)
        seen = select(PredictionRow.attempt_id, PredictionRow.classes).where(PredictionRow.attempt_id.in_(ids))
        classes = pairs(self.connection, seen)
        files: dict[int, list[Record]] = defaultdict(list)
        for file in artefacts(self.connection, ids):
            if is_artefact(file.path):  # another place would be one of this machine
                files[file.attempt_id].append(
                    {"kind": file.kind, "path": file.path, "sha256": file.sha256, "size": file.size}
                )
        places = environments(self.connection, {row.environment_id for row in rows})
        counts = self._counts({row.complexity_key for row in rows} - {None})
        for row in rows:
            place, counted = environment_of(row, places), counts.get(row.complexity_key)
            if row.ended is None:
                raise Unreadable(f"{name_of(row)}: is {row.state} and has no end")
            yield {
                "run": row.fingerprint,
                **{name: getattr(row, name) for name in COPIED},
                "error": None if row.error is None else without_paths(row.error),
                "started": row.started.isoformat(),
                "ended": row.ended.isoformat(),
                "environment": digest(public(place)),
                "complexity": None if counted is None else digest(counted),
                "metrics": metrics[row.id],
                "predictions": base64.b64encode(classes[row.id]).decode() if row.id in classes else None,
                "artefacts": sorted(files[row.id], key=lambda file: (file["kind"], file["path"])),
                **({"patch": without_secrets(place.patch)} if self.with_patch and place.patch else {}),
            }

    def _counts(self, keys: Collection[str]) -> dict[str, Record]:
        """Return counts by their keys here, which older schemas made otherwise than from their content."""
        found: dict[str, Record] = {}
        for part in chunks(keys):
            query = select(*ComplexityRow.__table__.columns).where(ComplexityRow.key.in_(part))
            for row in fetched(self.connection, query):
                found[row.key] = {name: getattr(row, name) for name in COUNTS}
        return found

    def series(self, uids: Collection[str] | None = None) -> Iterator[Record]:
        """Return the series of the same attempts, in the order of attempts and names."""
        for part in self._names(uids):
            query = select(AttemptRow.uid, AttemptRow.id).where(AttemptRow.uid.in_(part))
            for uid, identity in sorted(pairs(self.connection, query).items()):
                found = points(self.connection, [identity], None)
                for (_, name), (steps, values) in sorted(found.items()):
                    yield {"attempt": uid, "name": name, "steps": steps, "values": list(map(from_number, values))}

    def probes(self, uids: Collection[str] | None = None) -> Iterator[Record]:
        """Return what was measured of the weights of the same attempts, in the order of attempts and kinds."""
        for part in self._names(uids):
            query = select(AttemptRow.uid, *ProbeRow.__table__.columns).join(
                AttemptRow, AttemptRow.id == ProbeRow.attempt_id
            )
            found = fetched(self.connection, query.where(AttemptRow.uid.in_(part)))
            rows = sorted(found, key=lambda row: (row.uid, row.kind))
            places = environments(self.connection, {row.environment_id for row in rows})
            for row in rows:
                yield {
                    "attempt": row.uid,
                    "kind": row.kind,
                    "numbers": {name: _plain_number(value) for name, value in row.numbers.items()},
                    "code_id": row.code_id,
                    "measured": row.measured.isoformat(),
                    "environment": digest(public(place_of_probe(row, places))),
                }

    def files(self, results: Path) -> tuple[dict[str, Path], int]:
        """Return where the files of the attempts are, by their names in a bundle, and how many others do not count.

        Those do not count that are not here as they were recorded, and belong to attempts out of bundles only: bundles
        come without weights as well.

        Raises:
            StoreError: one that was made here is missing, or has another hash than was recorded.
        """
        merged: dict[tuple[str, str], bool] = {}
        for part in chunks(self._closed(AttemptRow.id)):
            query = select(ArtefactRow.path, ArtefactRow.sha256, AttemptRow.bundle)
            of_attempts = query.join(AttemptRow, AttemptRow.id == ArtefactRow.attempt_id)
            for path, sha256, bundle in fetched(self.connection, of_attempts.where(AttemptRow.id.in_(part))):
                if is_artefact(path):
                    merged[path, sha256] = merged.get((path, sha256), True) and bundle is not None
        found, left_out = {}, 0
        for (name, sha256), elsewhere in sorted(merged.items()):
            wrong = _wrong(results / name, sha256)
            if wrong is None:
                found[name] = results / name
            elif elsewhere:
                left_out += 1
            else:
                raise StoreError(f"{results / name}: {wrong}; export without weights")
        return found, left_out


def _plain_number(value: Any) -> Any:
    """Write zero and whole numbers in one form; what is no number is left to the check."""
    return value + 0.0 if type(value) in (int, float) else value


def _wrong(path: Path, sha256: str) -> str | None:
    try:
        whole = sha256_of(path) == sha256
    except OSError as error:
        return f"cannot be read: {one_line(error)}"
    return None if whole else "does not have the hash that was recorded"


def _checked(checked: Checked, where: str, form: type[Form], records: Iterator[Record]) -> Iterator[Record]:
    for number in count(1):
        with told(f"{where}: record {number} cannot be exported", "'ranbench db check' looks for more"):
            record = next(records, None)
            if record is None:
                return
            checked.take(form, record)
        yield record


def _sorted(found: dict[str, Any]) -> Iterator[Record]:
    for key, content in sorted(found.items()):
        yield {"key": key, **content}

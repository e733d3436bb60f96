"""Records of a bundle -> database: all of them or none, inside the caller's transaction.

An attempt that is there already must be the same; one that is not is added as it stands. So merging again changes
nothing, and the order of merging does not matter. What was measured of the weights of an attempt is no part of it: of
two measurements of one kind the earlier one stays, whichever is merged first, and neither is a conflict.
"""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, delete, select, update
from sqlalchemy import insert as plain_insert
from sqlalchemy.exc import IntegrityError

from ranbench.errors import MergeConflict, StoreError, one_line
from ranbench.records import Environment, Predictions
from ranbench.spec import digest
from ranbench.store.bundle import Bundle, Record, discard, to_number
from ranbench.store.checking import Checked, told
from ranbench.store.connection import execute_many, insert
from ranbench.store.content import is_whole
from ranbench.store.exporting import COPIED, Export
from ranbench.store.form import (
    AttemptForm,
    CellForm,
    ComplexityForm,
    EnvironmentForm,
    Form,
    ProbeForm,
    RunForm,
    SeriesForm,
    SuiteForm,
)
from ranbench.store.reading import chunks, environments, pairs
from ranbench.store.schema import (
    ArtefactRow,
    AttemptRow,
    ComplexityRow,
    MetricPointRow,
    ProbeRow,
    RunRow,
    SuiteRow,
    SuiteRunRow,
)
from ranbench.store.values import Merged
from ranbench.store.writing import (
    POINT_KEY,
    add_given_environment,
    add_missing,
    add_result,
    add_runs,
    next_number,
    number_or_null,
    put_protocol,
)

F = TypeVar("F", bound=Form)


def merge(connection: Connection, bundle: Bundle, results: Path | None = None) -> Merged:
    """Add what a bundle holds, where its files can go into a folder of results if one is given.

    Raises:
        MergeConflict: an attempt here has the name of one of the bundle and is another.
        StoreError: the bundle does not hold. Nothing may be committed after either.
    """
    work = _Merge(connection, bundle)
    _keep_files(connection, bundle, results)
    try:
        work.all()
    except IntegrityError as error:
        raise StoreError(f"{bundle.label}: breaks a rule of the database: {one_line(error.orig or error)}") from None
    if work.conflicts:
        raise MergeConflict(bundle.label, work.conflicts)
    return Merged(bundle.identity, len(work.checked.runs), len(work.ids), len(work.known))


class _Merge:
    """One bundle under way into one database."""

    def __init__(self, connection: Connection, bundle: Bundle):
        self.connection, self.bundle = connection, bundle
        self.checked = Checked()
        self.known: dict[str, str] = {}  # attempts that are here already, by name, and their runs
        self.ids: dict[str, int] = {}  # those that are added
        self.conflicts: list[str] = []

    def all(self) -> None:
        """Add every part; each refers to the parts before it."""
        self._add_runs()
        self._add_suites()
        self._check("environments", EnvironmentForm)  # they are added with their attempts
        for counts, where in self._records("complexity", ComplexityForm):
            with _told(where):
                add_missing(self.connection, ComplexityRow, [counts.model_dump()])
        self._add_attempts()
        self.checked.all_named(self.bundle)
        self._add_series()
        self._add_probes()

    def _records(self, part: str, form: type[F]) -> Iterator[tuple[F, str]]:
        for number, record in enumerate(self.bundle.records(part), 1):
            where = f"{self.bundle.label}: {part}.jsonl:{number}"
            with _told(where):
                checked = self.checked.take(form, record)
            yield checked, where

    def _check(self, part: str, form: type[Form]) -> None:
        for _ in self._records(part, form):
            pass

    def _add_runs(self) -> None:
        """Add cells and runs, whose names are computed anew from their specs."""
        self._check("cells", CellForm)
        self._check("runs", RunForm)
        specs = list(self.checked.runs.values())
        add_runs(self.connection, specs)
        for part in chunks(sorted(self.checked.runs)):
            # claims and other merges of these runs are held off, on a server too
            theirs = select(RunRow.id).where(RunRow.fingerprint.in_(part)).order_by(RunRow.id)
            self.connection.execute(theirs.with_for_update())

    def _add_suites(self) -> None:
        """Add texts of suites; one that is here already was recorded when it was first, and used when it was last."""
        for suite, where in self._records("suites", SuiteForm):
            recorded, used = datetime.fromisoformat(suite.recorded), datetime.fromisoformat(suite.used)
            content = suite.model_dump(exclude={"runs", "protocols", "recorded", "used"})
            with _told(where):
                add_missing(self.connection, SuiteRow, [{**content, "recorded": recorded, "used": used}])
            this = (SuiteRow.name == suite.name, SuiteRow.sha256 == suite.sha256)
            found = self.connection.execute(select(SuiteRow.id, SuiteRow.recorded, SuiteRow.used).where(*this)).one()
            times = {"recorded": min(recorded, found.recorded), "used": max(used, found.used)}
            self.connection.execute(update(SuiteRow).where(*this).values(times))
            add_missing(
                self.connection, SuiteRunRow, [{"suite_id": found.id, "fingerprint": run} for run in suite.runs]
            )
            for protocol in suite.protocols:
                with _told(where):
                    used = datetime.fromisoformat(protocol.used)
                    put_protocol(self.connection, found.id, **protocol.model_dump(exclude={"used"}), used=used)

    def _add_attempts(self) -> None:
        """Add attempts that are not here, and compare those that are."""
        names = (str(record.get("uid")) for record in self.bundle.records("attempts"))
        for part in chunks(name for name in names if "\0" not in name):
            query = select(AttemptRow.uid, AttemptRow.fingerprint).where(AttemptRow.uid.in_(part))
            self.known.update(pairs(self.connection, query))
        here = {record["uid"]: record for record in Export(self.connection, with_patch=True).attempts(self.known)}
        for attempt, where in self._records("attempts", AttemptForm):
            if attempt.uid in self.known and attempt.uid not in here:
                raise StoreError(f"{where}: has the name of an attempt that is not closed here; nothing was merged")
            if attempt.uid in self.known:
                self._compare(attempt, here[attempt.uid])
            else:
                with _told(where):
                    self.ids[attempt.uid] = self._add_attempt(attempt)

    def _compare(self, attempt: AttemptForm, ours: Record) -> None:
        """Note a conflict for every field that differs. A patch that is missing on one side is none."""
        theirs = attempt.model_dump(exclude_none=False)
        for name in sorted({*theirs} - {"patch"}):
            if theirs[name] != ours[name]:
                self._conflict(attempt.uid, name, theirs[name], ours[name])
        if attempt.patch is None:
            return
        if "patch" not in ours:
            self._take_patch(attempt.uid, attempt.patch)
        elif attempt.patch != ours["patch"]:
            self._conflict(attempt.uid, "patch", {}, {})

    def _conflict(self, uid: str, name: str, theirs: Any, ours: Any) -> None:
        told = "" if isinstance(theirs, dict | list) else f" ({_short(theirs)} in the bundle, {_short(ours)} here)"
        self.conflicts.append(f"attempt {uid[:12]} of run {self.known[uid][:12]}: {name} differs{told}")

    def _take_patch(self, uid: str, patch: str) -> None:
        """Keep a patch of which an earlier bundle did not hold the text."""
        this = (AttemptRow.uid == uid, AttemptRow.bundle.is_not(None))
        identity = self.connection.execute(select(AttemptRow.environment_id).where(*this)).scalar_one_or_none()
        if identity is None:
            return
        (place,) = environments(self.connection, [identity]).values()
        whole = add_given_environment(self.connection, Environment(**{**place.as_dict(), "patch": patch}))
        self.connection.execute(update(AttemptRow).where(*this).values(environment_id=whole))

    def _add_attempt(self, attempt: AttemptForm) -> int:
        ended = datetime.fromisoformat(attempt.ended)
        values = {
            **attempt.model_dump(include=set(COPIED)),
            "fingerprint": attempt.run,
            "number": next_number(self.connection, attempt.run),
            "error": attempt.error,
            "started": datetime.fromisoformat(attempt.started),
            "updated": ended,
            "ended": ended,
            "environment_id": add_given_environment(
                self.connection, self.checked.places[attempt.environment].environment(attempt.patch)
            ),
            "complexity_key": attempt.complexity,
            "bundle": self.bundle.identity,
        }
        added = self.connection.execute(plain_insert(AttemptRow).values(values).returning(AttemptRow.id))
        identity, classes = added.scalar_one(), attempt.classes()
        metrics = {name: to_number(value) for name, value in attempt.metrics.items()}
        add_result(self.connection, identity, metrics, None if classes is None else Predictions(classes))
        if attempt.artefacts:
            files = [{"attempt_id": identity, **file.model_dump()} for file in attempt.artefacts]
            self.connection.execute(plain_insert(ArtefactRow), files)
        return identity

    def _add_series(self) -> None:
        """Add the series of the added attempts, and compare those of the others."""
        theirs: dict[str, dict[str, Record]] = defaultdict(dict)
        for series, where in self._records("series", SeriesForm):
            if series.attempt in self.known:
                theirs[series.attempt][series.name] = series.model_dump()
                continue
            attempt = self.ids[series.attempt]
            values = [number_or_null(to_number(value)) for value in series.values]
            rows = [(attempt, series.name, step, value) for step, value in zip(series.steps, values, strict=True)]
            with _told(where):
                execute_many(self.connection, insert(self.connection, MetricPointRow), (*POINT_KEY, "value"), rows)
        ours: dict[str, dict[str, Record]] = defaultdict(dict)
        for record in Export(self.connection).series(self.known):
            ours[record["attempt"]][record["name"]] = record
        for uid in self.known:
            for name in sorted({*theirs[uid], *ours[uid]}):
                if theirs[uid].get(name) != ours[uid].get(name):
                    self._conflict(uid, f"series {name}", {}, {})

    def _add_probes(self) -> None:
        """Add what was measured of weights, where nothing is here or the bundle's is earlier."""
        here = {(record["attempt"], record["kind"]): record for record in Export(self.connection).probes(self.known)}
        names = {**self.ids}
        for part in chunks(self.known):
            query = select(AttemptRow.uid, AttemptRow.id).where(AttemptRow.uid.in_(part))
            names.update(pairs(self.connection, query))
        for probe, where in self._records("probes", ProbeForm):
            ours = here.get((probe.attempt, probe.kind))
            if ours is not None and _precedence(ours) <= _precedence(probe.model_dump()):
                continue
            here[probe.attempt, probe.kind] = probe.model_dump()
            key = {"attempt_id": names[probe.attempt], "kind": probe.kind}
            self.connection.execute(
                delete(ProbeRow).where(ProbeRow.attempt_id == key["attempt_id"], ProbeRow.kind == probe.kind)
            )
            values = {
                **key,
                "numbers": dict(sorted(probe.numbers.items())),
                "code_id": probe.code_id,
                "measured": datetime.fromisoformat(probe.measured),
                "environment_id": add_given_environment(
                    self.connection, self.checked.places[probe.environment].environment(patch=None)
                ),
            }
            with _told(where):
                self.connection.execute(plain_insert(ProbeRow).values(values))


def _precedence(probe: Record) -> tuple[datetime, str]:
    """What is measured earlier comes first; of the same moment, what their contents say."""
    return datetime.fromisoformat(probe["measured"]), digest(probe)


def _keep_files(connection: Connection, bundle: Bundle, results: Path | None) -> None:
    """Refuse a bundle with a file in whose place there is another one that may be good."""
    for name, (sha256, _) in bundle.artefacts.items():
        here = set(connection.execute(select(ArtefactRow.sha256).where(ArtefactRow.path == name)).scalars())
        if here - {sha256}:
            raise StoreError(f"{bundle.label}: {name!r} is another file in the database; nothing was merged")
        target = None if results is None or here else results / name
        if target is not None and os.path.lexists(target) and not is_whole(target, sha256):
            raise StoreError(
                f"{bundle.label}: {name!r} is another file than {target}, which is there already; move that one away; "
                "nothing was merged"
            )


def take_files(bundle: Bundle, results: Path) -> int:
    """Put the files of a bundle, whose hashes were checked, where the artefacts of the database are, unless they are.

    Returns:
        How many were put there.

    Raises:
        StoreError: the folder cannot be written.
    """
    taken = 0
    for name, (sha256, _) in bundle.artefacts.items():
        target = results / name
        if is_whole(target, sha256):
            continue
        partial = target.with_name(f"{target.name}.partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with bundle.artefact(name) as content, partial.open("wb") as file:
                shutil.copyfileobj(content, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        except OSError as error:
            discard(partial)
            raise StoreError(f"{target}: cannot be written: {one_line(error)}; the records are merged") from None
        taken += 1
    return taken


def _told(where: str) -> AbstractContextManager[None]:
    return told(f"{where}: does not hold", "nothing was merged")


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else f"{text[:37]}..."

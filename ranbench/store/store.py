"""Class ``Store``: the only way to the results database. Each method is one transaction; no session leaves it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Self

from sqlalchemy import Connection, Engine

from ranbench.errors import NothingMeasured, StoreError
from ranbench.masking import mask, mask_url
from ranbench.records import (
    Calibration,
    Complexity,
    Environment,
    MetricPoint,
    Owner,
    Predictions,
    Probe,
    Purpose,
    Reason,
    RunRecord,
    State,
)
from ranbench.store import reading, writing
from ranbench.store.claiming import IsAlive, Request, claim
from ranbench.store.connection import (
    AGAIN_SECONDS,
    database_file,
    make_engine,
    repeated,
    translated,
    writing_engine,
)
from ranbench.store.kind import Away, Patience
from ranbench.store.upgrade import Upgrade, is_made, prepare, version_of
from ranbench.store.values import Artefact, Claimed, Exported, Merged, Refused, SuiteText

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ranbench.spec import RunSpec
    from ranbench.store.reading import Points

    Series = tuple[NDArray[np.int64], NDArray[np.float64]]


class Store:
    """An open database. Safe to use from several threads; not to be carried into a forked process.

    Every write for an attempt names the owner's token and raises ``ClaimLost`` after a takeover or once the attempt is
    closed. What a method has returned from is on disk, and survives kill -9 and power cuts.
    """

    def __init__(self, engine: Engine, url: str, upgrade: Upgrade | None, patience: Patience):
        """Use ``Store.open``; ``upgrade`` is the one that was made of the schema."""
        self.patience = patience
        self._engine = engine
        self._writer = writing_engine(engine)
        self.url = url
        self.upgrade = upgrade

    @property
    def address(self) -> str:
        """The URL with its password, for another process of the same user; never to be shown or stored."""
        url, file = self._engine.url, database_file(self._engine.url.render_as_string(hide_password=False))
        return (url.set(database=str(file.resolve())) if file else url).render_as_string(hide_password=False)

    @property
    def backup(self) -> Path | None:
        """The copy that an upgrade of the schema left."""
        return self.upgrade.copy if self.upgrade else None

    @classmethod
    def open(cls, url: str, *, create: bool = True) -> Self:
        """Open the database at ``url``, make its tables where ``create`` is true, upgrade an older one.

        Args:
            url: ``sqlite:///PATH`` or ``postgresql+psycopg://USER:PASSWORD@HOST:PORT/NAME``.
            create: whether an empty place becomes a database.

        Raises:
            StoreError: the URL, the file or the schema cannot be used; nothing is damaged.
        """
        label = mask_url(url)
        patience = Patience()
        engine = make_engine(url, create=create, patience=patience)
        try:
            with translated(engine, label):
                return cls(engine, label, prepare(engine, label, create=create), patience)
        except BaseException:
            engine.dispose()
            raise

    @classmethod
    def join(cls, url: str) -> Self:
        """Open a database that another process has open for the same work: a server that is away is waited for.

        Raises:
            StoreError: as ``open``.
        """
        began, patience = time.monotonic(), Patience()
        while True:
            try:
                return cls.open(url, create=False)
            except Away:
                if patience.is_over(began):
                    raise
                time.sleep(AGAIN_SECONDS)

    def hurry(self) -> None:
        """Wait for a server that is away for moments only from here on, also where a wait is under way."""
        self.patience.hurried = True

    @classmethod
    def exists(cls, url: str) -> bool:
        """Tell whether there is a database at ``url`` that something was written to; makes and upgrades none.

        Raises:
            StoreError: the URL or the server cannot be used.
        """
        file = database_file(url)
        return file.exists() if file else is_made(url)

    def close(self) -> None:
        """Let go of the file or the server."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        """Return the store."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with translated(self._engine, self.url), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with translated(self._engine, self.url), self._writer.begin() as connection:
            yield connection

    # The life of an attempt.

    @repeated
    def claim(
        self,
        spec: RunSpec,
        *,
        code_id: str,
        environment: Environment,
        owner: Owner,
        is_alive: IsAlive,
        rerun: frozenset[str] = frozenset(),
        purpose: Purpose = Purpose.RESULT,
        since: datetime | None = None,
    ) -> Claimed | Refused:
        """Ask for a run: its first attempt, an interrupted one to go on with, or the next where ``rerun`` says so.

        Args:
            spec: the run; it is recorded where it is not known yet.
            code_id: identity of the sources that will make the numbers; an attempt of other code is not resumed.
            environment: where the caller runs; kept with a new attempt, not with one that is resumed.
            owner: who asks; its token is needed for every write to the attempt.
            is_alive: tells, from an owner and its last heartbeat, whether a running attempt is still worked on.
            rerun: of "failed", "changed" (other code) and "all": which closed attempts are followed by another.
            purpose: of the attempt; a new check is opened whatever became of the ones before, an interrupted one is
                resumed.
            since: an attempt that began later is not followed by another, whatever ``rerun`` says: two commands that
                ask for the same train it once.
        """
        request = Request(spec, code_id, environment, owner, rerun, purpose, since)
        with self._write() as connection:
            return claim(connection, request, is_alive)

    @repeated
    def heartbeat(self, attempt_id: int, token: str) -> None:
        """Say that the owner is alive."""
        with self._write() as connection:
            writing.touch(connection, attempt_id, token)

    @repeated
    def append(self, attempt_id: int, token: str, points: Sequence[MetricPoint], step: int) -> None:
        """Record points of series and that ``step`` iterations are done; recording a point again replaces it."""
        with self._write() as connection:
            writing.append(connection, attempt_id, token, points, step)

    @repeated
    def forget_after(self, attempt_id: int, token: str, step: int) -> None:
        """Delete the points beyond ``step``, before a resume from a checkpoint that is older than they are."""
        with self._write() as connection:
            writing.forget_after(connection, attempt_id, token, step)

    @repeated
    def mark_inexact(self, attempt_id: int, token: str) -> None:
        """Say that a resume could not keep to what the attempt began with."""
        with self._write() as connection:
            writing.touch(connection, attempt_id, token, resumed_inexactly=True)

    @repeated
    def record_artefact(self, attempt_id: int, token: str, *, kind: str, path: str, sha256: str, size: int) -> None:
        """Record a file of ``size`` bytes that belongs to the attempt."""
        with self._write() as connection:
            writing.add_artefact(connection, token, Artefact(attempt_id, kind, path, sha256, size))

    def finish(
        self,
        attempt_id: int,
        token: str,
        metrics: Mapping[str, float],
        predictions: Predictions | None = None,
        *,
        complexity_key: str | None = None,
        probes: Sequence[Probe] = (),
    ) -> None:
        """Close the attempt as done, with its final metrics, predictions, probes and the key of its complexity."""
        self._close(
            lambda connection, moment: writing.finish(
                connection,
                attempt_id,
                token,
                moment,
                metrics=metrics,
                predictions=predictions,
                complexity_key=complexity_key,
                probes=probes,
            )
        )

    @repeated
    def record_probe(self, attempt_id: int, probe: Probe) -> None:
        """Record what was measured of the final weights of a done attempt; what was measured first stays.

        Raises:
            StoreError: the attempt is not done.
        """
        with self._write() as connection:
            writing.add_probe(connection, attempt_id, probe)

    @repeated
    def record_calibration(self, calibration: Calibration) -> None:
        """Record what a few steps of a net took on this machine, for plans."""
        with self._write() as connection:
            writing.add_calibration(connection, calibration)

    def fail(self, attempt_id: int, token: str, reason: Reason, error: str) -> None:
        """Close the attempt as failed; secrets in the error are not kept."""
        said = {"reason": reason.value, "error": mask(error)}
        self._close(
            lambda connection, moment: writing.close(connection, attempt_id, token, State.FAILED, moment, **said)
        )

    def interrupt(self, attempt_id: int, token: str, why: str | None = None) -> None:
        """Let go of the attempt, so that anyone can resume it; ``why``: what interrupted it, unless it was asked to."""
        said = {} if why is None else {"error": mask(why)}
        self._close(
            lambda connection, moment: writing.close(connection, attempt_id, token, State.INTERRUPTED, moment, **said)
        )

    def _close(self, closing: Callable[[Connection, datetime], object]) -> None:
        """Close an attempt at this moment, by which a repetition knows that it was closed by the same call already."""
        moment = writing.now()

        @repeated
        def once(store: Store) -> None:
            with store._write() as connection:
                closing(connection, moment)

        once(self)

    # What is known apart from attempts.

    @repeated
    def record_suite(  # noqa: PLR0917 - one version of a suite, as its columns have it
        self,
        name: str,
        title: str,
        text: str,
        sha256: str,
        specs: Sequence[RunSpec],
        protocols: Mapping[str, str] | None = None,
    ) -> None:
        """Record a version of a suite's text, the runs it asks for, and the link between them; again is no change.

        Texts go into every bundle: secrets in them are not kept, and ``sha256`` is that of what is.

        ``protocols``: name -> text of the protocols that it names or is run with.
        """
        said = {"name": name, "title": title, "text": text, "sha256": sha256}
        with self._write() as connection:
            writing.add_suite(connection, specs, **said, protocols=protocols or {})

    @repeated
    def record_complexity(self, key: str, complexity: Complexity) -> None:
        """Record the size of a net under the caller's digest of net and data."""
        with self._write() as connection:
            writing.put_complexity(connection, key, complexity)

    # Bundles.

    def export(
        self, path: Path, *, suites: Collection[str] = (), weights: Path | None = None, with_patch: bool = False
    ) -> Exported:
        """Write the closed attempts to a bundle; the same attempts give the same bytes, wherever they are exported.

        Args:
            path: of the new file; one that is there is replaced.
            suites: names of suites whose runs are wanted; all runs where none is given.
            weights: folder of results from which final weights are added, if they are wanted.
            with_patch: whether to add the uncommitted changes of the code, which may hold what is nobody's business.

        Raises:
            UsageError: a suite is not in the database.
            NothingMeasured: there is no closed attempt.
            StoreError: the file cannot be written, or weights of attempts that were made here are missing or damaged,
                or a record is not what a bundle may hold.
        """
        from ranbench.store.bundle import write
        from ranbench.store.exporting import Export

        with self._read() as connection:
            export = Export(connection, suites, with_patch=with_patch)
            if not export.runs:
                raise NothingMeasured(f"{self.url}: there is no done or failed run to export")
            files, left_out = ({}, 0) if weights is None else export.files(weights)
            identity = write(path, export.parts(self.url), files)
            return Exported(identity, len(export.runs), len(files), path.stat().st_size, left_out)

    @repeated
    def merge(self, path: Path, results: Path | None = None) -> Merged:
        """Add what a bundle holds: all of it or nothing. Merging again changes nothing, nor does another order.

        Args:
            path: of the bundle.
            results: folder of results, into which weights of the bundle go, if they are wanted.

        Raises:
            MergeConflict: an attempt of the bundle is another one here.
            StoreError: the file is not a bundle, is damaged or was altered.
        """
        from ranbench.store.bundle import opened
        from ranbench.store.merging import merge, take_files

        with opened(path) as bundle:
            with self._write() as connection:
                merged = merge(connection, bundle, results)
            return merged if results is None else replace(merged, files=take_files(bundle, results))

    @classmethod
    @contextmanager
    def of_bundle(cls, path: Path) -> Iterator[Self]:
        """Open a bundle as a database, for reading; it is gone with the context.

        Raises:
            StoreError: the file is not a bundle, is damaged or was altered.
        """
        with TemporaryDirectory(prefix="ranbench-") as folder, cls.open(f"sqlite:///{folder}/bundle.db") as store:
            store.merge(path)
            store.url = str(path)
            yield store

    # Reading.

    @repeated
    def runs(self, fingerprints: Collection[str] | None = None, *, suite: str | None = None) -> list[RunRecord]:
        """Return runs with their attempts: those asked for in that order, or all as they were added.

        Args:
            fingerprints: which runs; unknown ones are left out.
            suite: only runs that a version of the suite of this name asked for.
        """
        with self._read() as connection:
            return reading.runs(connection, fingerprints, suite)

    @repeated
    def done(self, fingerprints: Collection[str]) -> set[str]:
        """Return those of the runs that have a done attempt at a result."""
        with self._read() as connection:
            return reading.done(connection, fingerprints)

    def find(self, prefix: str) -> RunRecord:
        """Return the one run whose fingerprint begins with ``prefix`` (4 hexadecimal digits or more).

        Raises:
            UsageError: not such digits, or none or several runs have it.
        """
        with self._read() as connection:
            return reading.find(connection, prefix)

    def series(self, attempt_ids: Collection[int], names: Collection[str]) -> dict[tuple[int, str], Series]:
        """Return (steps, values) as arrays by attempt and name, steps ascending; those without points are left out."""
        import numpy as np

        return {
            key: (np.array(steps, np.int64), np.array(values, np.float64))
            for key, (steps, values) in self.points(attempt_ids, names).items()
        }

    @repeated
    def points(
        self, attempt_ids: Collection[int], names: Collection[str] | None = None
    ) -> dict[tuple[int, str], Points]:
        """Return the same as plain lists, of all series where no names are given."""
        with self._read() as connection:
            return reading.points(connection, attempt_ids, names)

    @repeated
    def last_points(self, attempt_ids: Collection[int], names: Collection[str]) -> dict[int, dict[str, MetricPoint]]:
        """Return the last point of the named series, by attempt and name."""
        with self._read() as connection:
            return reading.last_points(connection, attempt_ids, names)

    def predictions(self, attempt_id: int) -> bytes | None:
        """Return the predicted classes of the final evaluation, one byte an image, or None."""
        with self._read() as connection:
            return reading.predictions(connection, attempt_id)

    def artefacts(self, attempt_ids: Collection[int]) -> list[Artefact]:
        """Return the recorded files of the attempts."""
        with self._read() as connection:
            return reading.artefacts(connection, attempt_ids)

    @repeated
    def complexity(self, key: str) -> Complexity | None:
        """Return the size of a net, or None where it was not counted yet."""
        with self._read() as connection:
            return reading.complexity(connection, key)

    def complexity_of(self, attempt_id: int) -> Complexity | None:
        """Return the size of the net of a done attempt, or None where none was recorded with it."""
        with self._read() as connection:
            return reading.complexity_of(connection, attempt_id)

    def calibrations(self) -> list[Calibration]:
        """Return what steps of nets took on machines that worked with this database, oldest first."""
        with self._read() as connection:
            return reading.calibrations(connection)

    def suites(self) -> list[SuiteText]:
        """Return every recorded version of every suite, the one used last first."""
        with self._read() as connection:
            return reading.suites(connection)

    def schema_version(self) -> str:
        """Return the version of the database's schema."""
        with self._read() as connection:
            found = version_of(connection, self.url)
        if found is None:
            raise StoreError(f"{self.url}: lost its tables while it was open")
        return found

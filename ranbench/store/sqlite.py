"""SQLite: which files are accepted, how they are set up, what its errors mean. All SQLite-only SQL is here.

Write transactions begin with ``BEGIN IMMEDIATE``: a deferred one that turns into a write fails at once when another
process writes, whatever the timeout.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL
from sqlalchemy.pool import ConnectionPoolEntry

from ranbench.errors import StoreError, one_line
from ranbench.store.file import is_only_readable, on_read_only_medium, open_to_read
from ranbench.store.kind import Kind, Patience, missing
from ranbench.store.rows import loads
from ranbench.store.schema import Row

if TYPE_CHECKING:
    from ranbench.store.kind import Insert

BUSY_SECONDS = 60.0
HEADER_BYTES = 100
SMALLEST_PAGE_BYTES = 512

# FULL: one fsync at each commit. NORMAL would survive kill -9 as well, but a power cut could take the last commits
# while the checkpoint file of the same iterations stays, and a resume would then leave a gap in the series. There are a
# few commits a second at most, so the price is small.
# cache_size in KiB, below zero: SQLite's own 2,000 do not hold one page of each of a thousand series.
PRAGMAS = (("foreign_keys", "ON"), ("synchronous", "FULL"), ("cache_size", "-32768"))

_WRITE = "ranbench_write"

_DAMAGED = "is damaged or truncated; restore it from a copy, or move it away to start afresh"

# What the driver says -> what the user can do.
_REMEDIES = (
    ("is locked", "another process has been writing for more than {busy:g} s; try again when it is done"),
    ("is full", "the disk is full; free some space and repeat the command, what was recorded is kept"),
    ("readonly", "cannot be written; check the rights of the file and its folder"),
    ("unable to open", "cannot be opened; check the rights of the file and its folder"),
    ("malformed", _DAMAGED),
    ("decode to UTF-8", "is damaged: holds text that is not UTF-8; see 'ranbench db check', and restore a copy"),
    ("not a database", "is not a SQLite database; name another file"),
)


class Sqlite(Kind):
    """A file of SQLite."""

    driver_error = sqlite3.DatabaseError

    def engine(self, url: URL, label: str, *, create: bool, patience: Patience) -> Engine:
        """Return an engine; the file is not touched, its folder is made where ``create`` is true.

        Whether the file is SQLite is left to SQLite: opening and closing it here would drop the locks that another
        connection of this process holds on it (a rule of POSIX).

        Raises:
            StoreError: a folder, or no file and ``create`` is false.
        """
        path = Path(str(url.database))
        try:
            if path.is_dir():
                raise StoreError(f"{label}: is a directory, expected a file")
            size = path.stat().st_size if path.exists() else None
            if size is None and not create:
                raise missing(label)
            if size and size < HEADER_BYTES:  # SQLite would take a file of one byte for an empty database
                raise StoreError(f"{label}: is not a SQLite database; name another file")
            path.parent.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise StoreError(f"{label}: cannot be opened: {one_line(error)}") from None
        location = URL.create("sqlite", database=str(path))
        arguments: dict[str, Any] = {"connect_args": {"timeout": BUSY_SECONDS}, "json_deserializer": loads}
        if not create and (on_read_only_medium(path) or is_only_readable(path)):
            arguments["creator"] = lambda: open_to_read(path, check_same_thread=False)
        engine = create_engine(location, **arguments)
        event.listen(engine, "connect", _set_up)
        event.listen(engine, "begin", _begin)
        return engine

    def writing(self, engine: Engine) -> Engine:
        """Return the same engine with transactions that lock the database at their start."""
        return engine.execution_options(**{_WRITE: True})

    def insert(self, table: type[Row]) -> Insert:
        """Begin an INSERT that can have an ON CONFLICT clause."""
        return sqlite.insert(table)

    def execute_many(
        self, connection: Connection, statement: Insert, columns: Sequence[str], rows: list[tuple[Any, ...]]
    ) -> None:
        """Execute an INSERT for many rows of plain values, past SQLAlchemy's handling of each (half of the time)."""
        compiled = statement.compile(connection, column_keys=list(columns))
        assert tuple(getattr(compiled, "positiontup", None) or ()) == tuple(columns)
        connection.exec_driver_sql(str(compiled), rows)

    def explain(self, error: Any) -> str:
        """Say what an error of the driver means and what to do."""
        said = one_line(error)
        for part, remedy in _REMEDIES:
            if part in said:
                return remedy.format(busy=BUSY_SECONDS)
        return said

    def is_collision(self, error: Any) -> bool:
        """Return False: who writes has the whole database."""
        return False

    def is_away(self, error: Any) -> bool:
        """Return False: a file does not go away."""
        return False

    def up_since(self, connection: Connection) -> None:
        """Return None: there is no server."""

    def triggers(self, connection: Connection) -> dict[str, str]:
        """Return the triggers, by name, with their tables."""
        rows = connection.exec_driver_sql("SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'")
        return {str(name): str(table) for name, table in rows}

    def refuse_damaged(self, engine: Engine, label: str) -> None:
        """Find a cut inside the last page, which SQLite itself notices only once it reads that page.

        Raises:
            StoreError: the file ends in the middle of a page and no write-ahead log is there to mend it.
        """
        path = Path(str(engine.url.database))
        log = path.with_name(f"{path.name}-wal")
        if path.stat().st_size % SMALLEST_PAGE_BYTES and not (log.exists() and log.stat().st_size):
            raise StoreError(f"{label}: {_DAMAGED}")

    def set_up(self, engine: Engine) -> None:
        """Let readers and the writer work at the same time (WAL). The file keeps this setting.

        SQLite does not wait for its busy timeout here, so this does.
        """
        end = time.monotonic() + BUSY_SECONDS
        with closing(engine.raw_connection()) as driver:
            while True:
                try:
                    driver.cursor().execute("PRAGMA journal_mode = WAL")
                    return
                except sqlite3.OperationalError as error:
                    if "locked" not in str(error) or time.monotonic() > end:
                        raise
                    time.sleep(0.02)

    def lock_schema(self, connection: Connection, label: str) -> None:
        """Do nothing: the transaction has locked the whole database."""

    def copy(self, engine: Engine, version: str) -> Path:
        """Copy the committed content of the database to a new file beside it, and return that file's path.

        Raises:
            StoreError: the folder cannot be written.
        """
        path = Path(str(engine.url.database))
        names = (f"{path.name}.schema-{version}{suffix}" for suffix in chain([""], (f"-{n}" for n in count(2))))
        target = next(found for found in map(path.with_name, names) if not found.exists())
        partial = target.with_name(f"{target.name}.partial")
        try:
            partial.unlink(missing_ok=True)
            _copy(path, partial)
            return partial.replace(target)
        except OSError as error:
            raise StoreError(f"{path}: cannot be copied before the upgrade: {one_line(error)}") from None
        finally:  # nothing is left of a copy that did not come to its end, on a full disk for instance
            for rest in (partial, partial.with_name(f"{partial.name}-journal")):
                with suppress(OSError):
                    rest.unlink(missing_ok=True)

    def finish_schema(self, connection: Connection) -> None:
        """Do nothing: the migrations say everything."""


def _set_up(driver: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
    driver.isolation_level = None  # the driver's own implicit BEGIN is deferred and skips DDL
    for name, value in PRAGMAS:
        driver.execute(f"PRAGMA {name} = {value}")


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get(_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _copy(path: Path, target: Path) -> None:
    with (
        closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)

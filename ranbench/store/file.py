"""A database of SQLite as a file: opened only to look, checked, copied. SQLite's own statements for that are here."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from ranbench.errors import StoreError, UsageError, one_line

BUSY_SECONDS = 60.0
SHOWN = 100  # faults that SQLite is asked for


def on_read_only_medium(path: Path) -> bool:
    """Tell whether nobody can write to the file, whatever its rights: its file system is mounted so."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except (OSError, AttributeError):  # not there, or no such question on this system
        return False


def is_only_readable(path: Path) -> bool:
    """Tell whether we have no right to write to the file, or to make the log beside it without which none can."""
    log = path.with_name(f"{path.name}-wal")
    return not os.access(path, os.W_OK) or not (log.exists() or os.access(path.parent, os.W_OK))


def open_to_read(path: Path, *, check_same_thread: bool = True) -> sqlite3.Connection:
    """Open a file so that nothing can be written to it; on a medium that is read-only as well.

    Where a write-ahead log is used, SQLite keeps its two files beside the database open for that, and may leave them
    there, empty.
    """
    place = path.resolve().as_uri()
    how: dict[str, Any] = {"uri": True, "isolation_level": None, "check_same_thread": check_same_thread}
    connection: sqlite3.Connection = sqlite3.connect(f"{place}?mode=ro", timeout=BUSY_SECONDS, **how)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.OperationalError as error:
        connection.close()
        log = path.with_name(f"{path.name}-wal")
        no_place = any(said in str(error) for said in ("readonly", "unable to open"))  # for those two files
        if not no_place or log.exists() or os.access(path.parent, os.W_OK):
            raise
        connection = sqlite3.connect(f"{place}?immutable=1", **how)
    except BaseException:
        connection.close()
        raise
    return connection


def integrity(connection: Connection, *, quick: bool = False) -> list[str]:
    """Return what SQLite finds wrong in the file, one line each, none where all is well.

    ``quick`` leaves out what takes longest: whether indexes agree with their tables.
    """
    check = "quick_check" if quick else "integrity_check"
    return _faults(connection.exec_driver_sql(f"PRAGMA {check}({SHOWN})"))


def _faults(rows: Iterable[Any]) -> list[str]:
    lines = [line.strip() for (text,) in rows for line in str(text).splitlines()]
    found = [line for line in lines if line and not line.startswith("*** in database")]
    return [] if found == ["ok"] else found


def bytes_lacking(connection: Connection) -> int:
    """Return how many bytes of its last pages a file has lost, which SQLite takes for zeros.

    With a write-ahead log the last pages may be in that.
    """
    path = Path(connection.exec_driver_sql("PRAGMA database_list").one()[2])
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        return 0
    count, size = (connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("page_count", "page_size"))
    return max(0, int(count) * int(size) - path.stat().st_size)


def orphans(connection: Connection) -> dict[tuple[str, str], int]:
    """Count the rows that name a row which is not there, by their table and the table that they name."""
    rows = connection.exec_driver_sql("PRAGMA foreign_key_check")
    return dict(Counter((str(row[0]), str(row[2])) for row in rows))


def undecodable(connection: Connection) -> Iterator[str]:
    """Name the text that is not UTF-8, which nothing can read: the first of each column."""
    quoted = connection.dialect.identifier_preparer.quote_identifier
    for table in definitions(connection):
        for _, column, *_ in connection.exec_driver_sql(f"PRAGMA table_info({quoted(table)})").all():
            text, rows = (
                f"CAST({quoted(column)} AS BLOB)",
                f"FROM {quoted(table)} WHERE typeof({quoted(column)}) = 'text'",
            )
            for value in filter(_is_damaged, connection.exec_driver_sql(f"SELECT DISTINCT {text} {rows}").scalars()):
                same = connection.exec_driver_sql(f"SELECT count(*) {rows} AND {text} = ?", (value,)).scalar_one()
                times = "once" if same == 1 else f"{same:,} times"
                yield f"{table}: column {column} holds {value[:20]!r} {times}, which is not UTF-8"
                break


def _is_damaged(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return True
    return False


def definitions(connection: Connection) -> dict[str, str]:
    """Return the definition of every table, by name."""
    rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND sql IS NOT NULL")
    return {str(name): str(sql) for name, sql in rows}


def journal_mode(connection: Connection) -> str:
    """Return how SQLite keeps a transaction until it is committed: wal, delete, ..."""
    return str(connection.exec_driver_sql("PRAGMA journal_mode").scalar_one())


def copy(path: Path, target: Path) -> int:
    """Copy what is committed to a new file, check the copy, and return its size in bytes; others may write meanwhile.

    Raises:
        UsageError: there is such a file already, or no folder for it.
        StoreError: the copy cannot be written, or is not whole; nothing is left of it.
    """
    if not target.parent.is_dir():
        raise UsageError(f"{target}: there is no folder {target.parent}; make it first")
    _refuse_existing(target)
    partial = target.with_name(f"{target.name}.part")
    try:
        partial.unlink(missing_ok=True)
        with closing(open_to_read(path)) as source, closing(sqlite3.connect(partial)) as made:
            source.backup(made)
            faults = _faults(made.execute("PRAGMA integrity_check(1)"))
        if faults:
            raise StoreError(f"{path}: its copy would be damaged ({faults[0]}); see 'ranbench db check'")
        _sync(partial)
        _refuse_existing(target)
        partial.replace(target)
        _sync(target.parent)
        return target.stat().st_size
    except OSError as error:
        raise StoreError(f"{target}: cannot be written: {one_line(error)}") from None
    except sqlite3.Error as error:
        said = one_line(error)
        raise StoreError(f"{target}: cannot be written: {said}; free space and rights of the folder help") from None
    finally:
        for rest in (partial, *(partial.with_name(f"{partial.name}{end}") for end in ("-journal", "-wal", "-shm"))):
            with contextlib.suppress(OSError):
                rest.unlink(missing_ok=True)


def _refuse_existing(target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise UsageError(f"{target}: is there already; name a file that is not")


def _sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

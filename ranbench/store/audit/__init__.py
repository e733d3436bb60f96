"""What is wrong in a database and in the files beside it. Looks only: nothing is changed, and nothing is mended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, NoSuchTableError

from ranbench.errors import one_line
from ranbench.masking import mask_url
from ranbench.store.audit.files import files
from ranbench.store.audit.finding import Finding, fault, note
from ranbench.store.audit.identity import identity
from ranbench.store.audit.rows import IsAlive, attempts, constraints, json_columns, orphans, values
from ranbench.store.audit.tables import tables
from ranbench.store.file import bytes_lacking, integrity
from ranbench.store.looking import looking
from ranbench.store.schema import VERSION, Unreadable
from ranbench.store.upgrade import version_there

__all__ = ["Finding", "audit"]

Check = Callable[[Connection], Iterator[Finding]]


def audit(url: str, results: Path, is_alive: IsAlive) -> list[Finding]:
    """Check a database, and the files in its folder of results.

    Args:
        url: the database.
        results: folder of artefacts and checkpoints.
        is_alive: tells, from an owner and its last heartbeat, whether a running attempt is still worked on.

    Raises:
        StoreError: the database cannot be read at all, is not ranbench's, or is newer; one line.
    """
    with looking(url) as connection:
        version = version_there(connection, mask_url(url))
        found = list(_file(connection))
        if version != VERSION:
            text = f"schema {version} is older than {VERSION}, so the content was not checked; 'ranbench db upgrade'"
            return [*found, note("version", text)]
        checks: dict[str, Check] = {
            "tables": tables,
            "constraints": constraints,
            "orphans": orphans,
            "JSON": json_columns,
            "values": values,
            "identity": identity,
            "attempts": partial(attempts, is_alive=is_alive),
            "files": partial(files, results=results),
        }
        for about, check in checks.items():
            try:
                with connection.begin_nested():  # a server's transaction does not outlive an error, a savepoint does
                    found += check(connection)
            except Unreadable as error:
                found.append(fault(about, f"could not be checked to its end: {error}"))
            except (DBAPIError, NoSuchTableError) as error:
                said = one_line(getattr(error, "orig", None) or error)
                if "decode to UTF-8" in said:
                    found.append(fault(about, f"could not be checked to its end: {said!a}"))
                    continue
                # a table or column is lacking, or its pages cannot be read
                if not any(finding.level == "fault" for finding in found):
                    raise
                found.append(note(about, "could not be checked, because of the faults above"))
    return found


def _file(connection: Connection) -> Iterator[Finding]:
    if connection.dialect.name != "sqlite":
        return
    lacking = bytes_lacking(connection)
    if lacking:
        yield fault("integrity", f"the file is truncated, {lacking:,} bytes are lacking; restore it from a copy")
    damaged = integrity(connection)
    if damaged:
        more = f", and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        yield fault("integrity", f"SQLite finds: {damaged[0]}{more}; restore the file from a copy")

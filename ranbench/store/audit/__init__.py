"""What is wrong in a database and in the files beside it. Looks only: nothing is changed, and nothing is mended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, NoSuchTableError

from ranbench.errors import one_line
from ranbench.masking import mask_url
from ranbench.store.audit.exports import exports
from ranbench.store.audit.files import files
from ranbench.store.audit.finding import Finding, fault, note
from ranbench.store.audit.identity import Heading, contents, identity, texts
from ranbench.store.audit.rows import (
    IsAlive,
    attempts,
    constraints,
    json_columns,
    orphans,
    times,
    undecodable_text,
    values,
)
from ranbench.store.audit.tables import tables
from ranbench.store.file import bytes_lacking, integrity
from ranbench.store.looking import looking
from ranbench.store.schema import VERSION, Unreadable
from ranbench.store.upgrade import version_there

__all__ = ["Finding", "audit"]

Check = Callable[[Connection], Iterator[Finding]]


def audit(url: str, results: Path, is_alive: IsAlive, heading: Heading = lambda _text: None) -> list[Finding]:
    """Check a database, and the files in its folder of results.

    Args:
        url: the database.
        results: folder of artefacts and checkpoints.
        is_alive: tells, from an owner and its last heartbeat, whether a running attempt is still worked on.
        heading: reads the name and the title in the text of a suite; None where they cannot be read.

    Raises:
        StoreError: the database cannot be read at all, is not ranbench's, or is newer; one line.
    """
    with looking(url) as connection:
        version = version_there(connection, mask_url(url))
        found: list[Finding] = []
        _add(found, connection, "integrity", _file)
        if version != VERSION:
            _add(found, connection, "values", undecodable_text)
            text = f"schema {version} is older than {VERSION}, so the content was not checked"
            return [*found, note("version", text if found else f"{text}; 'ranbench db upgrade'")]
        checks: tuple[tuple[str, Check], ...] = (
            ("tables", tables),
            ("constraints", constraints),
            ("orphans", orphans),
            ("JSON", json_columns),
            ("values", undecodable_text),
            ("values", times),
            ("values", values),
            ("identity", identity),
            ("identity", contents),
            ("identity", partial(texts, heading=heading)),
            ("attempts", partial(attempts, is_alive=is_alive)),
            ("files", partial(files, results=results)),
        )
        for about, check in checks:
            _add(found, connection, about, check)
        _add(found, connection, "export", partial(exports, known=tuple(found)))
    return found


def _add(found: list[Finding], connection: Connection, about: str, check: Check) -> None:
    """Add what a check finds, and keep that where the check cannot come to its end.

    Raises:
        DBAPIError: the database cannot be read, and nothing that was found tells why.
    """
    try:
        with connection.begin_nested():  # a server's transaction does not outlive an error, a savepoint does
            for finding in check(connection):
                found.append(finding)
    except (DBAPIError, NoSuchTableError) as error:
        said = one_line(getattr(error, "orig", None) or error)
        if "decode to UTF-8" in said:
            found.append(_not_to_its_end(about, f"{said!a}"))
        # a table or column is lacking, or its pages cannot be read
        elif any(finding.level == "fault" for finding in found):
            found.append(note(about, "could not be checked, because of the faults above"))
        else:
            raise
    except Unreadable as error:
        found.append(_not_to_its_end(about, str(error)))
    except Exception as error:  # whatever a damaged record brings about is a fault of the database, not of its check
        found.append(_not_to_its_end(about, f"{type(error).__name__}: {one_line(error)}"))


def _not_to_its_end(about: str, why: str) -> Finding:
    return fault(about, f"could not be checked to its end: {why}")


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

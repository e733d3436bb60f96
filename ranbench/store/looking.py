"""A database opened only to look at it: nothing is made, upgraded or written, whatever its version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from ranbench.masking import mask_url
from ranbench.store.connection import make_engine, translated
from ranbench.store.file import bytes_lacking, integrity, journal_mode, open_to_read
from ranbench.store.rows import loads
from ranbench.store.upgrade import version_there


@contextmanager
def looking(url: str) -> Iterator[Connection]:
    """Give a connection that cannot write, and on which all statements see the same state.

    Raises:
        StoreError: the database cannot be opened or read; one line.
    """
    label = mask_url(url)
    engine = make_engine(url, create=False)
    if engine.dialect.name == "sqlite":
        path = Path(str(engine.url.database))
        engine.dispose()
        engine = create_engine(
            "sqlite://", creator=lambda: open_to_read(path), poolclass=NullPool, json_deserializer=loads
        )
    else:
        engine = engine.execution_options(postgresql_readonly=True)
    try:
        with translated(engine, label), engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")
            yield connection
    finally:
        engine.dispose()


@dataclass(frozen=True)
class Health:
    """How a database is; ``faults`` and ``journal`` are known of SQLite only."""

    version: str
    faults: tuple[str, ...] = ()
    journal: str | None = None


def health(url: str) -> Health:
    """Look at a database quickly: its version, and whether its file is sound.

    Raises:
        StoreError: it cannot be opened, is empty, not ranbench's, or newer.
    """
    label = mask_url(url)
    with looking(url) as connection:
        version = version_there(connection, label)
        if connection.dialect.name != "sqlite":
            return Health(version)
        lacking = bytes_lacking(connection)
        torn = [f"the file is truncated, {lacking:,} bytes are lacking"] if lacking else []
        return Health(version, (*torn, *integrity(connection, quick=True)), journal_mode(connection))


def schema_version(url: str) -> str:
    """Return the version of a database's schema, and leave an older one as it is.

    Raises:
        StoreError: it cannot be opened, is empty, not ranbench's, or newer.
    """
    with looking(url) as connection:
        return version_there(connection, mask_url(url))

"""URL -> engine: which databases there are, and what the store needs of each kind. SQL of one kind is in its module."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError

from ranbench.errors import StoreError, one_line
from ranbench.masking import mask_url
from ranbench.store.kind import Away, Collision, Kind, Patience
from ranbench.store.schema import Row, Unreadable
from ranbench.store.sqlite import Sqlite

if TYPE_CHECKING:
    from ranbench.store.kind import Insert

ATTEMPTS = 6  # of a transaction that collides with others
PAUSE_SECONDS = 0.02  # after the first of them, on average; then twice as long each time
AGAIN_SECONDS = 0.2  # between two tries while a server is away

EXPECTED = "expected sqlite:///PATH or postgresql+psycopg://USER@HOST:PORT/NAME"

Given = ParamSpec("Given")
Result = TypeVar("Result")


def parsed(url: str) -> URL:
    """Return the parts of a URL that names a database.

    Raises:
        StoreError: it is no URL, or of another kind of database, or does not name one.
    """
    label = mask_url(url)
    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):
        known = f"; did you mean sqlite:///{label}?" if Path(url).is_file() else ""
        raise StoreError(f"database {label!r}: is not a URL{known or f'; {EXPECTED}'}") from None
    if parts.drivername in ("sqlite", "sqlite+pysqlite"):
        if parts.database in (None, "", ":memory:") or "\0" in url or parts.host or parts.query:
            raise StoreError(f"database {label!r}: names no plain file; expected sqlite:///PATH")
    elif parts.drivername not in ("postgresql", "postgresql+psycopg"):
        raise StoreError(f"database {label!r}: {parts.drivername!r} is not supported; {EXPECTED}")
    elif "@" in (parts.host or ""):
        raise StoreError(f"database {label!r}: write an @ inside the password as %40")
    elif not parts.database:
        raise StoreError(f"database {label!r}: names no database; {EXPECTED}")
    return parts


def database_file(url: str) -> Path | None:
    """Return the file that ``url`` names, None where the database is on a server.

    Raises:
        StoreError: the URL cannot be used.
    """
    parts = parsed(url)
    return Path(str(parts.database)) if parts.drivername.startswith("sqlite") else None


def kind_of(engine: Engine | Connection) -> Kind:
    """Return what can only be done on databases of this kind."""
    return _kind(engine.dialect.name)


@functools.cache
def _kind(name: str) -> Kind:
    if name == "sqlite":
        return Sqlite()
    try:
        from ranbench.store.postgres import Postgres
    except ImportError as error:
        raise StoreError(
            f"a PostgreSQL database needs psycopg, which cannot be imported ({one_line(error)}); "
            "'pip install \"ranbench[postgres]\"' installs it"
        ) from None
    return Postgres()


def make_engine(url: str, *, create: bool, patience: Patience | None = None) -> Engine:
    """Return an engine for ``url`` whose transactions read.

    Raises:
        StoreError: an unsupported URL, its library is not installed, or nothing there and ``create`` is false.
    """
    parts = parsed(url)
    return _kind(parts.get_backend_name()).engine(parts, mask_url(url), create=create, patience=patience or Patience())


def writing_engine(engine: Engine) -> Engine:
    """Return the same engine with transactions that write."""
    return kind_of(engine).writing(engine)


def insert(connection: Connection, table: type[Row]) -> Insert:
    """Begin an INSERT that can have an ON CONFLICT clause."""
    return kind_of(connection).insert(table)


def execute_many(
    connection: Connection, statement: Insert, columns: Sequence[str], rows: list[tuple[Any, ...]]
) -> None:
    """Execute an INSERT for many rows of plain values, past SQLAlchemy's handling of each."""
    kind_of(connection).execute_many(connection, statement, columns, rows)


@contextmanager
def translated(engine: Engine, label: str) -> Iterator[None]:
    """Turn what the driver raises about the database as a whole into one line; a broken constraint stays a bug."""
    kind = kind_of(engine)
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        raise _explained(kind, label, error.orig) from error
    except kind.driver_error as error:
        raise _explained(kind, label, error) from error
    except UnicodeDecodeError as error:  # what SQLite says of a damaged schema quotes it
        raise StoreError(f"{label}: holds text that is not UTF-8: it is damaged; restore a copy") from error
    except Unreadable as error:
        raise StoreError(f"{label}: is damaged: {error}; see 'ranbench db check', and restore a copy") from error


def _explained(kind: Kind, label: str, error: Any) -> StoreError:
    said = f"{label}: {kind.explain(error)}"
    if kind.is_collision(error):
        return Collision(said)
    return Away(said) if kind.is_away(error) else StoreError(said)


def repeated(transaction: Callable[Given, Result]) -> Callable[Given, Result]:
    """Repeat a method that is one transaction: a bounded number of times where it collides with another, and as long as
    the store has patience where the server goes away. It must do no harm to carry it out twice.
    """

    @functools.wraps(transaction)
    def repeat(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        patience: Patience = args[0].patience  # type: ignore[attr-defined]
        collisions, since = 0, None
        while True:
            try:
                return transaction(*args, **kwargs)
            except Collision:
                collisions += 1
                if collisions == ATTEMPTS:
                    raise
                pause(collisions - 1)
            except Away:
                since = since or time.monotonic()
                if patience.is_over(since):
                    raise
                time.sleep(AGAIN_SECONDS)

    return repeat


def pause(attempt: int) -> None:
    """Wait before a transaction is repeated: longer each time, and never as long as the other one does."""
    time.sleep(PAUSE_SECONDS * 2**attempt * random.uniform(0.5, 1.5))

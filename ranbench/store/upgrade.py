"""Schema versions: whose database is it, which version does it have, make or upgrade it.

Alembic is loaded only where a database must be made or upgraded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError

import ranbench
from ranbench.errors import StoreError, one_line
from ranbench.masking import mask_url
from ranbench.store.connection import kind_of, make_engine, translated, writing_engine
from ranbench.store.kind import Kind, missing
from ranbench.store.schema import VERSION, VERSION_TABLE, Unreadable

# What a migration raises over content that no version wrote.
_OF_CONTENT = (DBAPIError, Unreadable, ValueError, TypeError, AttributeError, LookupError, RecursionError)

MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True)
class Upgrade:
    """An upgrade that was made: from which version, and the copy of the database from before, where we can make one."""

    version: str
    copy: Path | None


def prepare(engine: Engine, label: str, *, create: bool) -> Upgrade | None:
    """Bring the database to this version's schema; return the upgrade, if there was one to make.

    Raises:
        StoreError: the database is not ranbench's, is newer, or is empty and ``create`` is false.
    """
    kind = kind_of(engine)
    with engine.connect() as connection:
        found = version_of(connection, label)
    if found is not None:
        kind.refuse_damaged(engine, label)
    if found == VERSION:
        return None
    if found is None and not create:
        raise missing(label)
    kind.set_up(engine)
    with writing_engine(engine).begin() as connection:
        kind.lock_schema(connection, label)
        found = version_of(connection, label)  # another process may have been faster
        if found == VERSION:
            return None
        made = None if found is None else Upgrade(found, kind.copy(engine, found))
        with _undone(kind, label, made):
            migrate(connection, label)
            kind.finish_schema(connection)
    return made


@contextmanager
def _undone(kind: Kind, label: str, upgrade: Upgrade | None) -> Iterator[None]:
    """Tell what helps where an upgrade fails; the transaction is undone, so that its copy is not needed.

    Raises:
        StoreError: something in the database is not what the older version wrote.
    """
    try:
        yield
    except BaseException as error:
        if upgrade and upgrade.copy:
            with suppress(OSError):
                upgrade.copy.unlink()
        if upgrade is None or not isinstance(error, _OF_CONTENT):
            raise
        driver: Any = error.orig if isinstance(error, DBAPIError) else error
        said, told = one_line(driver), str(error) if isinstance(error, Unreadable) else kind.explain(driver)
        if not said.startswith(told):  # what it is about and what helps is known
            raise
        raise StoreError(
            f"{label}: cannot be upgraded from schema {upgrade.version} to {VERSION}, and is as it was: {told}; "
            "restore it from a copy, or go on with the ranbench that wrote it"
        ) from error


def is_made(url: str) -> bool:
    """Tell whether the database at ``url`` has ranbench's tables, of whatever version.

    Raises:
        StoreError: it cannot be opened, is not ranbench's or is newer.
    """
    label = mask_url(url)
    engine = make_engine(url, create=False)
    try:
        with translated(engine, label), engine.connect() as connection:
            return version_of(connection, label) is not None
    finally:
        engine.dispose()


def version_there(connection: Connection, label: str) -> str:
    """Return the schema version of a database that something was written to.

    Raises:
        StoreError: it is empty, not ranbench's, or newer.
    """
    found = version_of(connection, label)
    if found is None:
        raise missing(label)
    return found


def version_of(connection: Connection, label: str) -> str | None:
    """Return the schema version of a database that this ranbench can use or upgrade, None for an empty one.

    Raises:
        StoreError: the database is not ranbench's or is newer.
    """
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    if VERSION_TABLE not in tables:
        shown = ", ".join(tables[:3])
        raise StoreError(f"{label}: is not a database of ranbench (it has tables {shown}); name another one")
    versions = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalars().all()
    if len(versions) != 1 or versions[0] is None:
        raise StoreError(f"{label}: has no schema version; restore it from a copy")
    found = str(versions[0])
    if not re.fullmatch(r"[0-9]{1,9}", found) or int(found) > int(VERSION):
        raise StoreError(
            f"{label}: has schema {found}, newer than {VERSION} of this ranbench {ranbench.__version__}; "
            "'pip install --upgrade ranbench' helps"
        )
    return found


def migrate(connection: Connection, label: str) -> None:
    """Run the migrations up to the newest inside the caller's transaction.

    Raises:
        StoreError: the database has a version that no migration starts from.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreError(f"{label}: cannot be upgraded: {one_line(error)}; restore it from a copy") from None

"""Schema versions: whose database is it, which version does it have, make or upgrade it.

Alembic is loaded only where a database must be made or upgraded.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

import ranbench
from ranbench.errors import StoreError, one_line
from ranbench.store.connection import copy_beside, missing, refuse_torn, use_wal, writing_engine
from ranbench.store.schema import VERSION, VERSION_TABLE

MIGRATIONS = Path(__file__).parent / "migrations"


def prepare(engine: Engine, label: str, *, create: bool) -> Path | None:
    """Bring the database to this version's schema; return the copy made before an upgrade, if there was one.

    Raises:
        StoreError: the database is not ranbench's, is newer, or is empty and ``create`` is false.
    """
    with engine.connect() as connection:
        found = version_of(connection, label)
    if found is not None:
        refuse_torn(engine, label)
    if found == VERSION:
        return None
    if found is None and not create:
        raise missing(label)
    use_wal(engine)
    with writing_engine(engine).begin() as connection:
        found = version_of(connection, label)  # another process may have been faster
        if found == VERSION:
            return None
        copy = None if found is None else copy_beside(engine, found)
        migrate(connection, label)
    return copy


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
        raise StoreError(f"{label}: is not a database of ranbench (it has tables {shown}); name another file")
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one_or_none()
    if found is None:
        raise StoreError(f"{label}: has no schema version; restore it from a copy")
    if not found.isdigit() or int(found) > int(VERSION):
        raise StoreError(
            f"{label}: has schema {found}, newer than {VERSION} of this ranbench {ranbench.__version__}; "
            "'pip install --upgrade ranbench' helps"
        )
    return str(found)


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

"""PostgreSQL: how it is reached, how its transactions keep SQLite's promises, what its errors mean.

All PostgreSQL-only SQL is here. This module is imported only for a URL that names such a database: it needs psycopg.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import psycopg
from psycopg.pq import Conninfo
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from ranbench.errors import StoreError, nearest, one_line
from ranbench.store.kind import Away, Kind, Patience
from ranbench.store.schema import Row

if TYPE_CHECKING:
    from ranbench.store.kind import Insert

CONNECT_SECONDS = 10
LOCK_SECONDS = 60.0
KEPT_OPEN = 2  # connections of a process between transactions: one for the work, one for heartbeats

# Of the lock that processes take which make or upgrade the tables; any number that no other program takes.
SCHEMA_LOCK = 0x72616E62656E6368

_RESTART = "the connection to the server was lost; repeat the command once it answers, what was recorded is kept"
_RIGHTS = "its owner can give them (GRANT), or make a database of your own ('createdb --owner USER NAME')"
_CROWDED = "the server takes no more connections; try again when others are done, or raise its max_connections"

# What is said while a server is restarted or out of reach: by the machine, then by the server.
_STARTING = r"is starting up|is shutting down|recovery mode|not (yet )?accepting connections"
_FAR = r"timeout expired|timed out|unreachable|No route|name resolution"
_AWAY = rf"refused|No such file|closed the connection|{_FAR}|{_STARTING}"

# What the server says when it lets nobody in -> what the user can do. It sends no codes then.
_REFUSALS = (
    (r"password authentication failed|no password supplied", "the server refuses user and password; {password}"),
    (r"authentication failed|no pg_hba\.conf entry|SSL required", "the server does not let this user in: {said}"),
    (r"role .* does not exist", "the server knows no user {user!r}; 'createuser --pwprompt {user}' makes one"),
    (r"database .* does not exist", "the server has no database {name!r}; 'createdb --owner {user} {name}' makes one"),
    (r"permission denied for database", "the user may not connect to this database; {rights}"),
    (r"too many (clients|connections)|remaining connection slots", _CROWDED),
    (_STARTING, "{said}; try again in a while"),
    (
        r"refused|resolve|translate host|No such file|Permission denied|timeout expired|timed out|unreachable|No route",
        "the server cannot be reached ({said}); check host and port, and that it runs",
    ),
)

# SQLSTATE or its class -> what the user can do.
_REMEDIES = {
    "53100": "the server's disk is full; free some space there and repeat the command, what was recorded is kept",
    "53200": "the server is out of memory ({said}); try again when others are done",
    "53300": _CROWDED,
    "42501": "the user lacks rights ({said}); {rights}",
    "25006": "the server or the user is read-only ({said}); name the primary server, or a user that may write",
    "3F000": "there is no schema to make tables in ({said}); check search_path of the URL or the user",
    "55P03": "another process has held a lock for more than {busy:g} s; try again when it is done",
    "57014": "the server stopped a statement ({said}); raise its limit for this user, then repeat the command",
    "40": "other processes write the same records ({said}); repeat the command",
    "57P": _RESTART,
    "08": _RESTART,
    "XX001": "is damaged ({said}); restore it from a dump",
    "XX002": "is damaged ({said}); restore it from a dump, or rebuild its indexes (REINDEX DATABASE)",
}


class Postgres(Kind):
    """A database of a PostgreSQL server."""

    driver_error = psycopg.Error

    def engine(self, url: URL, label: str, *, create: bool, patience: Patience) -> Engine:
        """Return an engine; the server is not asked anything yet. Each transaction sees one state, as on SQLite.

        Raises:
            StoreError: the URL has an option that is not one, or a port that is no number.
        """
        _check_options(url, label)
        place = url.set(drivername="postgresql+psycopg")
        try:
            engine = create_engine(
                place,
                isolation_level="REPEATABLE READ",
                pool_pre_ping=True,  # a server that was restarted meanwhile is connected to again
                pool_size=KEPT_OPEN,
                max_overflow=-1,
            )
            engine.dialect.create_connect_args(place)
        except ArgumentError:
            raise StoreError(f"database {label!r}: the port is not a number") from None

        event.listen(engine, "do_connect", _Door(url, label, patience).connect)
        return engine

    def writing(self, engine: Engine) -> Engine:
        """Return the same engine with transactions in which each statement sees what others have committed.

        Only so can a claim look again at a run once it has its lock.
        """
        return engine.execution_options(isolation_level="READ COMMITTED")

    def insert(self, table: type[Row]) -> Insert:
        """Begin an INSERT that can have an ON CONFLICT clause."""
        return postgresql.insert(table)

    def execute_many(
        self, connection: Connection, statement: Insert, columns: Sequence[str], rows: list[tuple[Any, ...]]
    ) -> None:
        """Execute an INSERT for many rows of plain values: one statement, with one array for each column."""
        types = [
            statement.table.columns[name].type.compile(connection.dialect).split(" COLLATE ")[0] for name in columns
        ]
        arrays = ", ".join(f"%s::{kind}[]" for kind in types)
        single = str(statement.compile(connection, column_keys=list(columns)))
        many, found = re.subn(r"VALUES \(.*?\)(?= ON CONFLICT|$)", f"SELECT * FROM unnest({arrays})", single)
        assert found == 1
        connection.exec_driver_sql(many, tuple(map(list, zip(*rows, strict=True))))

    def explain(self, error: Any) -> str:
        """Say what an error of the server means and what to do."""
        code, said = getattr(error, "sqlstate", None), _said(error)
        if code is None and isinstance(error, psycopg.OperationalError):
            return _RESTART
        remedy = next((_REMEDIES[key] for key in (code, (code or "")[:3], (code or "")[:2]) if key in _REMEDIES), said)
        return remedy.format(said=said, busy=LOCK_SECONDS, rights=_RIGHTS) if remedy != said else said

    def is_collision(self, error: Any) -> bool:
        """Tell whether two transactions waited for each other, or could not be put in an order."""
        return isinstance(error, psycopg.errors.SerializationFailure | psycopg.errors.DeadlockDetected)

    def is_away(self, error: Any) -> bool:
        """Tell whether the connection was lost, or the server is going down."""
        code = getattr(error, "sqlstate", None)
        if code is None:
            return isinstance(error, psycopg.OperationalError)
        return str(code).startswith(("57P", "08"))

    def up_since(self, connection: Connection) -> datetime | None:
        """Ask the server."""
        started: datetime = connection.execute(text("SELECT pg_postmaster_start_time()")).scalar_one()
        return started

    def triggers(self, connection: Connection) -> dict[str, str]:
        """Return the triggers and rules, by name, with their tables."""
        rows = connection.exec_driver_sql(
            "SELECT tgname, relname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
            "WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace "
            "UNION ALL SELECT rulename, tablename FROM pg_rules WHERE schemaname = current_schema()"
        )
        return {str(name): str(table) for name, table in rows}

    def refuse_damaged(self, engine: Engine, label: str) -> None:
        """Do nothing: the server looks after its files."""

    def set_up(self, engine: Engine) -> None:
        """Do nothing: the server has its settings."""

    def lock_schema(self, connection: Connection, label: str) -> None:
        """Wait for other processes that make or upgrade the tables; hold them off to the transaction's end.

        Raises:
            StoreError: the database keeps text in another encoding than UTF-8.
        """
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SCHEMA_LOCK})
        encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
        if encoding != "UTF8":
            raise StoreError(
                f"{label}: has encoding {encoding}, expected UTF8; "
                "'createdb --template template0 --encoding UTF8 NAME' makes one"
            )

    def copy(self, engine: Engine, version: str) -> None:
        """Do nothing: a server's databases are dumped by those who look after it, and the upgrade is one transaction.

        Whoever upgrades is told so.
        """

    def finish_schema(self, connection: Connection) -> None:
        """Let all text be compared byte by byte, as on SQLite and whatever the language of the server.

        Results are in one order everywhere then, and the index on fingerprints finds prefixes.
        """
        tables = inspect(connection)
        quoted = connection.dialect.identifier_preparer.quote
        for table in tables.get_table_names():
            for column in tables.get_columns(table):
                kind: Any = column["type"]
                if isinstance(kind, postgresql.VARCHAR | postgresql.TEXT) and kind.collation != "C":
                    name, sql = quoted(column["name"]), kind.compile(connection.dialect).split(" COLLATE ")[0]
                    change = f'ALTER TABLE {quoted(table)} ALTER COLUMN {name} TYPE {sql} COLLATE "C"'
                    connection.exec_driver_sql(change)


def _check_options(url: URL, label: str) -> None:
    """Refuse options that the client library does not have; psycopg takes some of its own, which would break ours."""
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    for name in url.query:
        if name not in known:
            label = f"{label.partition('?')[0]}?..."  # a misspelt name may be that of a secret
            raise StoreError(f"database {label!r}: {name!r} is not an option of such a URL{nearest(name, known)}")


# Locks are waited for as long as on SQLite, numbers come back with all their digits, and what a method has returned
# from is on disk, also where the server would rather be quick.
_SESSION = """
SET lock_timeout = '{lock_ms:.0f}ms';
SET extra_float_digits = 1;
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""


class _Door:
    """The way to a server. Once it was open, a server that is being restarted or out of reach is waited for."""

    def __init__(self, url: URL, label: str, patience: Patience):
        self.url, self.label, self.patience = url, label, patience
        self.was_open = False

    def connect(self, _dialect: object, _record: object, _args: object, options: dict[str, Any]) -> Any:
        """Connect, as SQLAlchemy asks for it."""
        began = time.monotonic()
        while True:
            try:
                connection = _connect(options)
                self.was_open = True
                return connection
            except psycopg.Error as error:
                is_away = re.search(_AWAY, _said(error)) is not None
                if not (is_away and self.was_open) or self.patience.is_over(began):
                    kind = Away if is_away else StoreError
                    raise kind(f"{self.label}: {_refusal(error, self.url)}") from None
                time.sleep(0.2)


# A machine that is cut off says nothing: after so long without a word the connection counts as lost.
_SILENCE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}


def _connect(options: dict[str, Any]) -> psycopg.Connection[Any]:
    chosen = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "ranbench",
        **_SILENCE,
        **options,
        "client_encoding": "utf8",
    }
    connection = psycopg.connect(**chosen, autocommit=True)
    try:
        connection.execute(_SESSION.format(lock_ms=LOCK_SECONDS * 1000))
        connection.autocommit = False
    except BaseException:
        connection.close()
        raise
    return connection


def _refusal(error: psycopg.Error, url: URL) -> str:
    """Say why there is no connection, without the password, whatever the driver has put into its message."""
    said = _said(error)
    for secret in sorted(_secrets(url), key=len, reverse=True):
        said = said.replace(secret, "***")
    user = str(url.username or url.query.get("user") or "USER")
    password = "check both (without one in the URL, PGPASSWORD or the file ~/.pgpass is taken)"
    values = {"said": said, "user": user, "name": url.database, "password": password, "rights": _RIGHTS}
    for pattern, remedy in _REFUSALS:
        if re.search(pattern, said):
            return remedy.format_map(values)
    return f"cannot be opened: {said}"


def _secrets(url: URL) -> Iterable[str]:
    """Return every password of a URL in every form that it can be written in."""
    given = [url.password, *(url.query.get(name) for name in ("password", "sslpassword"))]
    plain = [word for value in given if value for word in ([value] if isinstance(value, str) else value)]
    return {form for word in plain for form in (word, quote(word), quote(word, safe=""), quote_plus(word))}


def _said(error: Any) -> str:
    """Return the server's own sentence, without what the driver puts around it."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    said = primary or one_line(error)
    said = said.split(" Is the server running")[0]
    return re.sub(r"^(connection failed|connection is bad): |(FATAL|ERROR): +", "", said)

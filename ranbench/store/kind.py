"""What every kind of database can do for the store; one module for each kind has what only it can do."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL

from ranbench.errors import StoreError
from ranbench.store.schema import Row

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

    Insert = sqlite.Insert | postgresql.Insert


AWAY_SECONDS = 600.0  # that a server may be away: restarted, or out of reach
HURRIED_SECONDS = 2.0


class Collision(StoreError):
    """Two transactions that could not both be carried out; the database has undone this one, it can be repeated."""


class Away(StoreError):
    """A transaction during which the server went away; whether it was carried out is not known."""


class Patience:
    """How long a server is waited for that was reached before; whoever is in a hurry may cut it short."""

    def __init__(self) -> None:
        self.hurried = False

    @property
    def seconds(self) -> float:
        """The whole wait."""
        return HURRIED_SECONDS if self.hurried else AWAY_SECONDS

    def is_over(self, since: float) -> bool:
        """Tell whether a wait that began at ``since``, by the monotonic clock, has been long enough."""
        return time.monotonic() - since > self.seconds


class Kind(ABC):
    """One kind of database. Stateless; ``label`` is a URL without its passwords, for messages."""

    # What the driver raises, also where SQLAlchemy does not wrap it.
    driver_error: type[Exception]

    @abstractmethod
    def engine(self, url: URL, label: str, *, create: bool, patience: Patience) -> Engine:
        """Return an engine whose transactions read; a server that goes away later is waited for.

        Raises:
            StoreError: the place cannot be used, or nothing is there and ``create`` is false.
        """

    @abstractmethod
    def writing(self, engine: Engine) -> Engine:
        """Return the same engine with transactions that write."""

    @abstractmethod
    def insert(self, table: type[Row]) -> Insert:
        """Begin an INSERT that can have an ON CONFLICT clause."""

    @abstractmethod
    def execute_many(
        self, connection: Connection, statement: Insert, columns: Sequence[str], rows: list[tuple[Any, ...]]
    ) -> None:
        """Execute an INSERT for many rows of plain values, past SQLAlchemy's handling of each.

        No two of the rows have the same key.
        """

    @abstractmethod
    def explain(self, error: Any) -> str:
        """Say what an error of the driver means and what to do."""

    @abstractmethod
    def is_collision(self, error: Any) -> bool:
        """Tell whether the transaction was undone only because of another one, and can be repeated."""

    @abstractmethod
    def is_away(self, error: Any) -> bool:
        """Tell whether the connection was lost, so that the transaction can be repeated once the server is back."""

    @abstractmethod
    def up_since(self, connection: Connection) -> datetime | None:
        """Return when the server was started, before which no heartbeat could reach it; None without a server."""

    @abstractmethod
    def triggers(self, connection: Connection) -> dict[str, str]:
        """Return what acts when rows are written, by its name, with its table."""

    # Around migrations.

    @abstractmethod
    def refuse_damaged(self, engine: Engine, label: str) -> None:
        """Find damage that the database itself notices too late.

        Raises:
            StoreError: there is some.
        """

    @abstractmethod
    def set_up(self, engine: Engine) -> None:
        """Set what a database keeps, before its tables are made."""

    @abstractmethod
    def lock_schema(self, connection: Connection, label: str) -> None:
        """Wait for other processes that make or upgrade the tables; hold them off to the transaction's end."""

    @abstractmethod
    def copy(self, engine: Engine, version: str) -> Path | None:
        """Copy an older database before its upgrade and return the copy's path, or None where we cannot.

        Raises:
            StoreError: the copy cannot be written.
        """

    @abstractmethod
    def finish_schema(self, connection: Connection) -> None:
        """Set what migrations leave to the kind of database, after they ran and in their transaction."""


def missing(label: str) -> StoreError:
    """Make the error for a database that nothing was written to yet."""
    return StoreError(f"{label}: no database there yet; 'ranbench run SUITE' makes one")

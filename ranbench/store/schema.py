"""Tables of the database as typed mappings, with the constraints that hold whoever writes. No queries.

The meaning of every column stands in ``docs/database.md``; a test compares the two. A change here needs a migration.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ranbench.errors import StoreError

# The Alembic revision that these mappings describe, and the table that names the revision of a database.
VERSION = "0008"
VERSION_TABLE = "ranbench_version"

SHA256 = String(64)


class Unreadable(StoreError):
    """A record that is damaged; the message begins with its name where that is known."""


class UtcTime(TypeDecorator[datetime]):
    """A moment as ISO 8601 text in UTC, always of the same width, so that text order is time order."""

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        """Write an aware moment as text."""
        return None if value is None else value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        """Read text as an aware moment."""
        if value is None:
            return None
        try:
            moment: datetime | None = datetime.fromisoformat(value)
        except (TypeError, ValueError):
            moment = None
        if moment is None or moment.tzinfo is None:
            raise Unreadable(f"a record: {ascii(value)[:60]} is not a time in UTC")
        return moment


class Row(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )


class CellRow(Row):
    """One configuration without its seed."""

    __tablename__ = "cell"

    cell_id: Mapped[str] = mapped_column(SHA256, primary_key=True)
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)


class RunRow(Row):
    """A cell with a seed."""

    __tablename__ = "run"
    __table_args__ = (UniqueConstraint("fingerprint"), UniqueConstraint("cell_id", "seed"))

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    fingerprint: Mapped[str] = mapped_column(SHA256)
    cell_id: Mapped[str] = mapped_column(ForeignKey("cell.cell_id"))
    seed: Mapped[int] = mapped_column(BigInteger)
    added: Mapped[datetime] = mapped_column(UtcTime)


class SuiteRow(Row):
    """One version of a suite's text."""

    __tablename__ = "suite"
    __table_args__ = (UniqueConstraint("name", "sha256"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(SHA256)
    title: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    recorded: Mapped[datetime] = mapped_column(UtcTime)
    used: Mapped[datetime] = mapped_column(UtcTime)


class SuiteProtocolRow(Row):
    """The text of a protocol that a version of a suite has named or was run with; each text once."""

    __tablename__ = "suite_protocol"

    suite_id: Mapped[int] = mapped_column(ForeignKey("suite.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    sha256: Mapped[str] = mapped_column(SHA256, primary_key=True)
    text: Mapped[str] = mapped_column(Text)
    used: Mapped[datetime] = mapped_column(UtcTime)


class SuiteRunRow(Row):
    """Which runs a version of a suite has asked for, under any protocol."""

    __tablename__ = "suite_run"
    __table_args__ = (Index(None, "fingerprint"),)

    suite_id: Mapped[int] = mapped_column(ForeignKey("suite.id"), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(ForeignKey("run.fingerprint"), primary_key=True)


class EnvironmentRow(Row):
    """Where attempts began; each content once."""

    __tablename__ = "environment"
    __table_args__ = (UniqueConstraint("sha256"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    sha256: Mapped[str] = mapped_column(SHA256)
    device: Mapped[str] = mapped_column(Text)
    device_name: Mapped[str] = mapped_column(Text)
    cpu: Mapped[str] = mapped_column(Text)
    cores: Mapped[int] = mapped_column(Integer)
    memory_bytes: Mapped[int] = mapped_column(BigInteger)
    threads: Mapped[int] = mapped_column(Integer)
    engine_path: Mapped[str] = mapped_column(Text)
    python: Mapped[str] = mapped_column(Text)
    platform: Mapped[str] = mapped_column(Text)
    versions: Mapped[dict[str, str]] = mapped_column(JSON)
    commit: Mapped[str | None] = mapped_column(Text)
    dirty: Mapped[bool] = mapped_column(Boolean)
    patch: Mapped[str | None] = mapped_column(Text)
    host: Mapped[str] = mapped_column(Text)
    user: Mapped[str] = mapped_column(Text)
    command: Mapped[str] = mapped_column(Text)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON, server_default="{}")


class ComplexityRow(Row):
    """Size of a net on images of one shape, as some code counted it; another count is another row."""

    __tablename__ = "complexity"
    __table_args__ = (Index(None, "net"),)

    key: Mapped[str] = mapped_column(SHA256, primary_key=True)
    parameters: Mapped[int] = mapped_column(BigInteger)
    macs: Mapped[int] = mapped_column(BigInteger)
    by_module: Mapped[dict[str, dict[str, int]]] = mapped_column(JSON)
    uncounted: Mapped[dict[str, int]] = mapped_column(JSON)
    convention: Mapped[str] = mapped_column(Text)
    depth: Mapped[int | None] = mapped_column(Integer)
    backward_macs: Mapped[int | None] = mapped_column(BigInteger)
    code_id: Mapped[str | None] = mapped_column(SHA256)
    net: Mapped[str] = mapped_column(SHA256, server_default="")
    recorded: Mapped[datetime | None] = mapped_column(UtcTime)


class AttemptRow(Row):
    """One execution of a run."""

    __tablename__ = "attempt"
    __table_args__ = (
        UniqueConstraint("fingerprint", "number"),
        Index(None, "state"),
        Index(None, "uid", unique=True),
        CheckConstraint("state IN ('running', 'done', 'failed', 'interrupted')", "state_known"),
        CheckConstraint("reason IN ('diverged', 'out_of_memory', 'timeout', 'error')", "reason_known"),
        CheckConstraint("(state = 'failed') = (reason IS NOT NULL)", "reason_if_failed"),
        CheckConstraint("(state = 'running') = (ended IS NULL)", "ended_unless_running"),
        CheckConstraint("(state = 'running') = (owner_token IS NOT NULL)", "owned_if_running"),
        CheckConstraint("purpose IN ('result', 'check')", "purpose_known"),
        CheckConstraint("number >= 1 AND step >= 0 AND iterations >= 1 AND resumes >= 0", "counts"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    fingerprint: Mapped[str] = mapped_column(ForeignKey("run.fingerprint"))
    number: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(16))
    error: Mapped[str | None] = mapped_column(Text)
    code_id: Mapped[str] = mapped_column(SHA256)
    step: Mapped[int] = mapped_column(BigInteger)
    iterations: Mapped[int] = mapped_column(BigInteger)
    resumes: Mapped[int] = mapped_column(Integer)
    resumed_inexactly: Mapped[bool] = mapped_column(Boolean)
    started: Mapped[datetime] = mapped_column(UtcTime)
    updated: Mapped[datetime] = mapped_column(UtcTime)
    ended: Mapped[datetime | None] = mapped_column(UtcTime)
    owner_token: Mapped[str | None] = mapped_column(Text)
    owner_host: Mapped[str | None] = mapped_column(Text)
    owner_pid: Mapped[int | None] = mapped_column(BigInteger)
    owner_pid_started: Mapped[float | None] = mapped_column(Double)
    environment_id: Mapped[int] = mapped_column(ForeignKey("environment.id"))
    complexity_key: Mapped[str | None] = mapped_column(ForeignKey("complexity.key"))
    purpose: Mapped[str] = mapped_column(String(16), server_default="result")
    uid: Mapped[str] = mapped_column(SHA256, server_default="")
    seconds: Mapped[float | None] = mapped_column(Double)
    bundle: Mapped[str | None] = mapped_column(SHA256)


class MetricPointRow(Row):
    """One value of a series. Kept in the order of its key: a series is one stretch of the file."""

    __tablename__ = "metric_point"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012

    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempt.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    value: Mapped[float | None] = mapped_column(Double)


class MetricRow(Row):
    """One final metric of a done attempt."""

    __tablename__ = "metric"

    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempt.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    value: Mapped[float | None] = mapped_column(Double)


class PredictionRow(Row):
    """Predicted classes of the final evaluation."""

    __tablename__ = "prediction"

    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempt.id"), primary_key=True)
    classes: Mapped[bytes] = mapped_column(LargeBinary)


class ArtefactRow(Row):
    """A file that belongs to an attempt."""

    __tablename__ = "artefact"

    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempt.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    path: Mapped[str] = mapped_column(Text, primary_key=True)
    sha256: Mapped[str] = mapped_column(SHA256)
    size: Mapped[int] = mapped_column(BigInteger)


class ProbeRow(Row):
    """What was measured of the final weights of a done attempt: beside the attempt, which itself never changes."""

    __tablename__ = "probe"

    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempt.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    numbers: Mapped[dict[str, float]] = mapped_column(JSON)
    code_id: Mapped[str] = mapped_column(SHA256)
    measured: Mapped[datetime] = mapped_column(UtcTime)
    environment_id: Mapped[int] = mapped_column(ForeignKey("environment.id"))


class CalibrationRow(Row):
    """What a few steps of a net took on a machine; the newest of its kind is believed. Never exported."""

    __tablename__ = "calibration"
    __table_args__ = (Index(None, "key"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    key: Mapped[str] = mapped_column(SHA256)
    about: Mapped[dict[str, Any]] = mapped_column(JSON)
    numbers: Mapped[dict[str, float]] = mapped_column(JSON)
    code_id: Mapped[str] = mapped_column(SHA256)
    measured: Mapped[datetime] = mapped_column(UtcTime)
    environment_id: Mapped[int] = mapped_column(ForeignKey("environment.id"))

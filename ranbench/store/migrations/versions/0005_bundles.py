"""What bundles need: attempts that are known by the same name everywhere, counts of nets that are never replaced.

Also how long an attempt was worked on, and the settings of the libraries where it ran. Secrets in commands, patches and
errors, which older versions kept, are masked.

Revision ID: 0005
Revises: 0004
"""

import hashlib
from collections import defaultdict

import sqlalchemy as sa
from alembic import op

from ranbench.masking import mask

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("environment", sa.Column("settings", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("complexity", sa.Column("net", sa.String(64), nullable=False, server_default=""))
    op.add_column("complexity", sa.Column("recorded", sa.String(32), nullable=True))
    op.execute("UPDATE complexity SET net = key")
    op.create_index(op.f("ix_complexity_net"), "complexity", ["net"])
    # Columns that are never empty have a default only because SQLite adds none without.
    op.add_column("attempt", sa.Column("uid", sa.String(64), nullable=False, server_default=""))
    op.add_column("attempt", sa.Column("seconds", sa.Double(), nullable=True))
    op.add_column("attempt", sa.Column("bundle", sa.String(64), nullable=True))
    _name_attempts()
    _mask_errors()
    _mask_environments()
    op.create_index(op.f("ix_attempt_uid"), "attempt", ["uid"], unique=True)


def _name_attempts() -> None:
    """Give an attempt the same name in every copy of its database."""
    connection = op.get_bind()
    rows = connection.execute(sa.text("SELECT id, fingerprint, number, started, code_id FROM attempt")).all()
    names = [
        {"id": identity, "uid": hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()}
        for identity, *parts in rows
    ]
    if names:
        connection.execute(sa.text("UPDATE attempt SET uid = :uid WHERE id = :id"), names)


def _mask_errors() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete = ON")  # nothing of the old text is to stay in the file
    rows = connection.execute(sa.text("SELECT id, error FROM attempt WHERE error IS NOT NULL")).all()
    masked = [{"id": row.id, "error": mask(row.error)} for row in rows if mask(row.error) != row.error]
    if masked:
        connection.execute(sa.text("UPDATE attempt SET error = :error WHERE id = :id"), masked)


def _mask_environments() -> None:
    """Mask and name every environment as this version would have; those that are the same then become one."""
    from ranbench.spec import digest

    connection = op.get_bind()
    environment = sa.table(
        "environment",
        *(sa.column(name, sa.Integer) for name in ("id", "cores", "memory_bytes", "threads")),
        *(sa.column(name, sa.JSON) for name in ("versions", "settings")),
        sa.column("dirty", sa.Boolean),
        *(
            sa.column(name, sa.Text)
            for name in (
                *("device", "device_name", "cpu", "engine_path", "python", "platform"),
                *("commit", "patch", "host", "user", "command"),
            )
        ),
    )
    same = defaultdict(list)
    for row in connection.execute(sa.select(environment).order_by(environment.c.id)):
        content = dict(row._mapping)
        identity = content.pop("id")
        content["command"] = mask(content["command"])
        content["patch"] = None if content["patch"] is None else mask(content["patch"])
        same[digest(content)].append({"id": identity, "command": content["command"], "patch": content["patch"]})
    kept = [{**first, "sha256": sha256} for sha256, (first, *_) in same.items()]
    others = [{"id": other["id"], "first": first["id"]} for first, *rest in same.values() for other in rest]
    if others:
        connection.execute(sa.text("UPDATE attempt SET environment_id = :first WHERE environment_id = :id"), others)
        connection.execute(sa.text("DELETE FROM environment WHERE id = :id"), others)
    if kept:
        told = "sha256 = :sha256, command = :command, patch = :patch"
        connection.execute(sa.text(f"UPDATE environment SET {told} WHERE id = :id"), kept)

"""What bundles need: attempts that are known by the same name everywhere, counts of nets that are never replaced.

Also how long an attempt was worked on, and the settings of the libraries where it ran.

Revision ID: 0005
Revises: 0004
"""

import hashlib

import sqlalchemy as sa
from alembic import op

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

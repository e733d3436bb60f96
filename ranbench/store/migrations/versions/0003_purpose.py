"""What an attempt is for: a result, or a check of one.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # One statement, for SQLite can add a constraint only together with its column; Alembic's batch mode would drop and
    # make anew a table that others refer to, and copy every attempt.
    op.execute(
        "ALTER TABLE attempt ADD COLUMN purpose VARCHAR(16) DEFAULT 'result' NOT NULL "
        "CONSTRAINT ck_attempt_purpose_known CHECK (purpose IN ('result', 'check'))"
    )

"""All tables of the first release.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cell",
        sa.Column("cell_id", sa.String(length=64), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("cell_id", name=op.f("pk_cell")),
    )
    op.create_table(
        "complexity",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("parameters", sa.BigInteger(), nullable=False),
        sa.Column("macs", sa.BigInteger(), nullable=False),
        sa.Column("by_module", sa.JSON(), nullable=False),
        sa.Column("uncounted", sa.JSON(), nullable=False),
        sa.Column("convention", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_complexity")),
    )
    op.create_table(
        "environment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("device_name", sa.Text(), nullable=False),
        sa.Column("cpu", sa.Text(), nullable=False),
        sa.Column("cores", sa.Integer(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("threads", sa.Integer(), nullable=False),
        sa.Column("engine_path", sa.Text(), nullable=False),
        sa.Column("python", sa.Text(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.Column("commit", sa.Text(), nullable=True),
        sa.Column("dirty", sa.Boolean(), nullable=False),
        sa.Column("patch", sa.Text(), nullable=True),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_environment")),
        sa.UniqueConstraint("sha256", name=op.f("uq_environment_sha256")),
    )
    op.create_table(
        "suite",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("recorded", sa.String(length=32), nullable=False),
        sa.Column("used", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suite")),
        sa.UniqueConstraint("name", "sha256", name=op.f("uq_suite_name_sha256")),
    )
    op.create_table(
        "run",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("cell_id", sa.String(length=64), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("added", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["cell_id"], ["cell.cell_id"], name=op.f("fk_run_cell_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
        sa.UniqueConstraint("cell_id", "seed", name=op.f("uq_run_cell_id_seed")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_run_fingerprint")),
    )
    op.create_table(
        "attempt",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=16), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("code_id", sa.String(length=64), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("iterations", sa.BigInteger(), nullable=False),
        sa.Column("resumes", sa.Integer(), nullable=False),
        sa.Column("resumed_inexactly", sa.Boolean(), nullable=False),
        sa.Column("started", sa.String(length=32), nullable=False),
        sa.Column("updated", sa.String(length=32), nullable=False),
        sa.Column("ended", sa.String(length=32), nullable=True),
        sa.Column("owner_token", sa.Text(), nullable=True),
        sa.Column("owner_host", sa.Text(), nullable=True),
        sa.Column("owner_pid", sa.BigInteger(), nullable=True),
        sa.Column("owner_pid_started", sa.Double(), nullable=True),
        sa.Column("environment_id", sa.Integer(), nullable=False),
        sa.Column("complexity_key", sa.String(length=64), nullable=True),
        sa.CheckConstraint("(state = 'failed') = (reason IS NOT NULL)", name=op.f("ck_attempt_reason_if_failed")),
        sa.CheckConstraint("(state = 'running') = (ended IS NULL)", name=op.f("ck_attempt_ended_unless_running")),
        sa.CheckConstraint("(state = 'running') = (owner_token IS NOT NULL)", name=op.f("ck_attempt_owned_if_running")),
        sa.CheckConstraint(
            "reason IN ('diverged', 'out_of_memory', 'timeout', 'error')", name=op.f("ck_attempt_reason_known")
        ),
        sa.CheckConstraint(
            "state IN ('running', 'done', 'failed', 'interrupted')", name=op.f("ck_attempt_state_known")
        ),
        sa.CheckConstraint(
            "number >= 1 AND step >= 0 AND iterations >= 1 AND resumes >= 0", name=op.f("ck_attempt_counts")
        ),
        sa.ForeignKeyConstraint(["complexity_key"], ["complexity.key"], name=op.f("fk_attempt_complexity_key")),
        sa.ForeignKeyConstraint(["environment_id"], ["environment.id"], name=op.f("fk_attempt_environment_id")),
        sa.ForeignKeyConstraint(["fingerprint"], ["run.fingerprint"], name=op.f("fk_attempt_fingerprint")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempt")),
        sa.UniqueConstraint("fingerprint", "number", name=op.f("uq_attempt_fingerprint_number")),
    )
    op.create_index(op.f("ix_attempt_state"), "attempt", ["state"], unique=False)
    op.create_table(
        "suite_run",
        sa.Column("suite_id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["fingerprint"], ["run.fingerprint"], name=op.f("fk_suite_run_fingerprint")),
        sa.ForeignKeyConstraint(["suite_id"], ["suite.id"], name=op.f("fk_suite_run_suite_id")),
        sa.PrimaryKeyConstraint("suite_id", "fingerprint", name=op.f("pk_suite_run")),
    )
    op.create_index(op.f("ix_suite_run_fingerprint"), "suite_run", ["fingerprint"], unique=False)
    op.create_table(
        "artefact",
        sa.Column("attempt_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempt.id"], name=op.f("fk_artefact_attempt_id")),
        sa.PrimaryKeyConstraint("attempt_id", "kind", "path", name=op.f("pk_artefact")),
    )
    op.create_table(
        "metric",
        sa.Column("attempt_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempt.id"], name=op.f("fk_metric_attempt_id")),
        sa.PrimaryKeyConstraint("attempt_id", "name", name=op.f("pk_metric")),
    )
    op.create_table(
        "metric_point",
        sa.Column("attempt_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempt.id"], name=op.f("fk_metric_point_attempt_id")),
        sa.PrimaryKeyConstraint("attempt_id", "name", "step", name=op.f("pk_metric_point")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "prediction",
        sa.Column("attempt_id", sa.Integer(), nullable=False),
        sa.Column("classes", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempt.id"], name=op.f("fk_prediction_attempt_id")),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_prediction")),
    )
